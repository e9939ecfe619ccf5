"""EC2 machines in an Auto Scaling group. boto3 is imported inside functions only: a person without AWS never waits
for it."""

"""Keeping a directory and a store alike, side by side with rclone and `cp -r`.

ground                    a scratch folder, the S3 server, the tools, trees of files
server                    the tests' S3 server, which also tells when a version was published
many, large               a tree up and down: 10,000 small files, 4 of 512 MiB
nothing, few, vast        20,000 files of which none has changed, or 10; 200,000 files
live                      `lofty sync --watch` on two sides
"""

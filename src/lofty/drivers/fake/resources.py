"""What a task is made of on the cloud in memory."""

from __future__ import annotations

from ...errors import CloudError
from ...model.spec import TaskSpec
from ...store.base import Store
from ...store.records import Records
from .cloud import Cloud


class FakeResource:
    """One object under the task's name."""

    def __init__(self, cloud: Cloud, task: TaskSpec, kind: str, needs: str = "") -> None:
        self.kind, self.name = kind, task.id
        self._cloud, self._task, self._needs = cloud, task, needs

    def read(self) -> bool:
        """Whether it is seen."""
        with self._cloud.lock:
            self._cloud.strike(f"read {self.kind}")
            return self._cloud.visible(self.kind, self.name)

    def create(self) -> None:
        """Make it, or find it made."""
        with self._cloud.lock:
            self._cloud.strike(f"create {self.kind}")
            if self._needs and not self._cloud.has(self._needs, self.name):
                raise CloudError(f"a {self.kind} needs a {self._needs} first")
            self._make()
            self._cloud.strike(f"create {self.kind}", after=True)

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        with self._cloud.lock:
            self._cloud.strike(f"delete {self.kind}")
            if self.kind == "role" and self._cloud.has("group", self.name):
                raise CloudError("the role is still in use by a group")
            self._unmake()
            self._cloud.strike(f"delete {self.kind}", after=True)

    def _make(self) -> None:
        self._cloud.put(self.kind, self.name, self._task)

    def _unmake(self) -> None:
        self._cloud.remove(self.kind, self.name)


class FakeStore(FakeResource):
    """The task's prefix, with the record in it."""

    def __init__(self, cloud: Cloud, task: TaskSpec) -> None:
        super().__init__(cloud, task, "store")
        self.name = cloud.store_url(task.id)

    def _make(self) -> None:
        Records(Store(self.name)).create_spec(self._task)
        super()._make()

    def _unmake(self) -> None:
        Store(self.name).clear()
        super()._unmake()

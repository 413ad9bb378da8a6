"""A machine of its own to read a configuration on: a home, a working directory, a system file, no environment."""

from pathlib import Path

import pytest

from hive_daemon.config.load import ConfigSources, LoadedConfig, load_config
from hive_daemon.errors import ConfigError


class Place:
    """A machine of its own: a home, a working directory, a system file, no environment."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.cwd = root / "cwd"
        self.system_file = root / "etc" / "hive.yaml"
        self.own_file = self.home / ".config" / "hive" / "hive.yaml"
        for directory in (self.cwd, self.system_file.parent, self.own_file.parent):
            directory.mkdir(parents=True)

    def load(
        self, text: str | None = None, *, config_file=None, flags=None, **environ: str
    ) -> LoadedConfig:
        if text is not None:
            self.own_file.write_text(text)
            self.own_file.chmod(0o600)
        return load_config(
            ConfigSources(
                config_file=config_file,
                flags=flags or {},
                environ=environ,
                cwd=self.cwd,
                home=self.home,
                system_file=self.system_file,
            )
        )

    def problems(self, text: str, **environ: str) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        assert caught.value.source == str(self.own_file)
        return caught.value.problems

    def problem(self, text: str, **environ: str) -> str:
        (problem,) = self.problems(text, **environ)
        return problem

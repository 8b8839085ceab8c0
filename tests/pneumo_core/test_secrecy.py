"""Secrets stay with the process that the user started."""

import os

import pytest

from pneumo_core import secrecy

SECRETS = {
    "PNEUMO_STORAGE": "sqlite:///x",
    "KAGGLE_KEY": "k",
    "KAGGLE_USERNAME": "me",
    "PGPASSWORD": "p",
    "PGPASSFILE": "/f",
    "MYSQL_PWD": "p",
    "DB_PASSWORD": "p",
    "db_passwd": "p",
    "AWS_SECRET_ACCESS_KEY": "p",
    "HF_TOKEN": "p",
    "OPENAI_API_KEY": "p",
    "GOOGLE_APPLICATION_CREDENTIALS": "/f",
    "MY_DATABASE": "postgresql://me:p%40ss@host/db",
}
NEEDED = {
    "PATH": "/bin",
    "PWD": "/here",
    "OLDPWD": "/there",
    "KERAS_BACKEND": "jax",
    "PNEUMO_WEIGHTS": "/w",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5",
    "https_proxy": "http://me:p@proxy:3128",
    "RAY_AUTH_TOKEN": "t",
    "MONKEY": "banana",
    "A_URL": "https://host/path",
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_known_by_name_or_value(name: str) -> None:
    assert secrecy.is_secret(name, SECRETS[name])


@pytest.mark.parametrize("name", NEEDED)
def test_what_processes_need_is_passed_on(name: str) -> None:
    assert not secrecy.is_secret(name, NEEDED[name])


def test_another_process_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)
    passed = secrecy.environment({"EXTRA": "1"})
    assert not SECRETS.keys() & passed.keys()
    assert NEEDED.items() <= passed.items()
    assert passed["EXTRA"] == "1"


def test_secrets_are_put_aside_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "k")
    with secrecy.put_aside():
        assert "KAGGLE_KEY" not in os.environ
    assert os.environ["KAGGLE_KEY"] == "k"

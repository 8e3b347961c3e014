"""Which settings there are: their types, their bounds, their defaults and how each is written.

The models are the only place that says what a setting may be; what a person is told was expected
is made from them. TOML and environment variables cannot say None, so a word stands for it
(``sample_size = "all"``), which is also what is shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from vigie.i18n import _

MASK = "***"
ADDRESS_PARTS = ("host", "port", "name", "user", "password")
ONE_KEY = "one key"
"""Validation context in which keys are not held against each other."""

_HOST = r"(?:\[[^\]\s]*\]|[^\[\]:,@/?#\s]*)(?::\d{0,5})?"
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+\w+)?)://"
    r"(?:(?P<user>[^:@/?#\[\]\s]*)(?::(?P<password>[^:@/?#\[\]\s]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<name>[^@/?#\s]*))?"
    r"(?:\?(?P<query>[^#\s]*))?"
)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECRET_OPTION = re.compile(r"((?:^|&)[^=&]*password[^=&]*=)[^&]*", re.IGNORECASE)


def parse_url(url: str) -> re.Match[str] | None:
    """Return the parts of a PostgreSQL address, still percent-encoded; None if it isn't one."""
    return None if _BROKEN_ESCAPE.search(url) else _URL.fullmatch(url)


def replace_in_url(url: str, parts: Mapping[str, Any]) -> str:
    """Return `url` with some of its ``ADDRESS_PARTS`` replaced.

    Examples
    --------
    >>> replace_in_url("postgresql://ann@db/x?sslmode=require", {"user": "bob", "port": 5433})
    'postgresql://bob@db:5433/x?sslmode=require'
    """
    match = parse_url(url)
    assert match is not None
    old: dict[str, str | None] = match.groupdict()
    new = {key: quote(str(value), safe="") for key, value in parts.items() if key != "host"}
    user, password = new.get("user", old["user"]), new.get("password", old["password"])
    name, hosts = new.get("name", old["name"]), match["hosts"]
    if "port" in new:
        hosts = ",".join(
            re.sub(r":\d*$", "", host) + f":{new['port']}" for host in hosts.split(",")
        )
    login = "" if user is None and password is None else user or ""
    login += "" if password is None else f":{password}"
    return (
        f"{old['scheme']}://{login}{'@' if login else ''}{hosts}"
        + ("" if name is None else f"/{name}")
        + ("" if old["query"] is None else f"?{old['query']}")
    )


def mask_url(url: str) -> str:
    """Return `url` with its passwords masked, those among its options too.

    Examples
    --------
    >>> mask_url("postgresql://ann:p4ss@db/x?sslpassword=s3cret")
    'postgresql://ann:***@db/x?sslpassword=***'
    """
    match = parse_url(url)
    if match is None:
        return MASK
    if match["password"]:
        url = url[: match.start("password")] + MASK + url[match.end("password") :]
    head, mark, query = url.partition("?")
    return head + mark + _SECRET_OPTION.sub(rf"\g<1>{MASK}", query)


def _check_url(secret: SecretStr) -> SecretStr:
    if parse_url(secret.get_secret_value()) is None:
        raise PydanticCustomError("database_url", "not a PostgreSQL address")
    return secret


# A share of all, or a count.
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
# An address pasted into the place of a name would be shown with its password. A user may hold
# an "@": that of a server on Azure does.
User = Annotated[str, Field(min_length=1, pattern=r"^[^/\x00-\x1f]+$")]
Name = Annotated[str, Field(min_length=1, pattern=r"^[^@=/\x00-\x1f]+$")]
Host = Annotated[str, Field(min_length=1, pattern=r"^(/[^@=\x00-\x1f]*|[^@=/\s\x00-\x1f]+)$")]
Url = Annotated[SecretStr, AfterValidator(_check_url)]


def _check_json_object(text: str) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise PydanticCustomError("json_object", "not a JSON object")
    return text


JsonObject = Annotated[str, AfterValidator(_check_json_object)]
# The kinds that have a name, then the import path of a class: "package.module.Class".
# The first and the last day that may be asked about.
CUTOFF_DAYS = (-365, 1000)
KINDS = ("random_forest", "extra_trees", "hist_gradient_boosting", "logistic_regression")
Kind = Annotated[str, Field(pattern=rf"^({'|'.join(KINDS)}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)$")]


class Section(BaseModel):
    """Base of all sections: frozen, no unknown key, no silent conversion, no value in errors."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class ModelParams(Section):
    """Parameters of the Random Forest, by scikit-learn's names."""

    n_estimators: Count = 100
    criterion: Literal["gini", "entropy", "log_loss"] = "gini"
    max_depth: Count | None = None
    min_samples_split: Annotated[int, Field(ge=2)] | Share = 2
    min_samples_leaf: Count | Annotated[float, Field(gt=0, lt=1)] = 10
    max_features: Literal["sqrt", "log2"] | Count | Share | None = "log2"
    class_weight: Literal["balanced", "balanced_subsample"] | None = None
    max_samples: Count | Share | None = 0.5
    bootstrap: bool = True

    @model_validator(mode="after")
    def _check_bootstrap(self, info: ValidationInfo) -> ModelParams:
        # Only what somebody asked for can contradict: without bootstrap the default is ignored.
        asked = "max_samples" in self.model_fields_set and self.max_samples is not None
        if info.context != ONE_KEY and asked and not self.bootstrap:
            raise PydanticCustomError("samples_without_bootstrap", "max_samples needs bootstrap")
        return self


class Mode(Section):
    """What differs between a quick run and a complete one."""

    sample_size: Count | None = None
    n_splits_cv: int = Field(default=5, ge=2, le=50)
    model_params: ModelParams = ModelParams(n_estimators=200)
    backup: bool = False


class Modes(Section):
    """Both modes."""

    dev: Mode = Mode(sample_size=5000, n_splits_cv=3, model_params=ModelParams())
    prod: Mode = Mode(backup=True)


class Extract(Section):
    """Reading of raw files."""

    max_rejected: float = Field(default=0.01, ge=0, le=1)


class Predict(Section):
    """Scores and levels of risk."""

    low: float = Field(default=0.3, ge=0, le=1)
    high: float = Field(default=0.7, ge=0, le=1)
    threshold: float = Field(default=0.5, ge=0, le=1)
    capacity: Share | None = None
    recall: Share | None = None
    missed_per_alarm: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_order(self, info: ValidationInfo) -> Predict:
        if info.context != ONE_KEY and self.low > self.high:
            raise PydanticCustomError("low_above_high", "low is above high")
        ways = ("capacity", "recall", "missed_per_alarm")
        given = [name for name in ways if getattr(self, name) is not None]
        if info.context != ONE_KEY and len(given) > 1:
            raise PydanticCustomError(
                "two_thresholds",
                "{first} and {second}",
                {"first": given[0], "second": given[1]},
            )
        return self


class Evaluation(Section):
    """What the model is judged on."""

    holdout: Literal["latest", "grouped"] | Annotated[float, Field(gt=0, lt=1)] = "latest"
    holdout_share: float = Field(default=0.2, gt=0, lt=1)
    holdout_from: Annotated[str, Field(min_length=1)] | None = None
    drop_repeaters: bool = True
    strict_time: bool = False
    recall_margin: float = Field(default=0.1, gt=0, le=1)


class Model(Section):
    """Which model, and when a new one takes the place of the current one."""

    kind: Kind = "random_forest"
    params: JsonObject = "{}"
    calibrate: Literal["isotonic", "sigmoid", False] = "sigmoid"
    tolerance: float = Field(default=0.005, ge=0, le=1)
    format: Literal["pkl", "skops"] = "pkl"
    accelerated: bool = False


class Watch(Section):
    """From where on a difference from what was learnt from is told."""

    psi: float = Field(default=0.2, gt=0)
    two_sample_auc: float = Field(default=0.75, ge=0.5, le=1)


class Report(Section):
    """What a run leaves for people to look at."""

    page: bool = True
    figures: Literal["all", "basic"] = "all"


class Retention(Section):
    """How many of each are kept; the current one always is."""

    models: Count = 10
    backups: Count = 5
    runs: Count = 200


class Engine(Section):
    """Which engine makes tables and features, and its resources."""

    name: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = Field(
        default="local[*]",
        pattern=r"^(local(\[(\d+|\*)(,\s*\d+)?\])?|(spark|sc)://.+|yarn|k8s://.+)$",
    )
    storage: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:/.+$")
    threads: Count | None = None
    memory_limit: str | None = Field(
        default=None, pattern=r"^[1-9]\d*(\.\d+)? ?([KMGTkmgt][Ii]?)?[Bb]$"
    )
    joblib: Literal["threads", "loky", "dask"] = "threads"
    dask_scheduler: str | None = Field(default=None, pattern=r"^(tcp|tls|ws|wss|ucx)://[^\s/@]+$")

    @model_validator(mode="after")
    def _check_scheduler(self, info: ValidationInfo) -> Engine:
        if info.context != ONE_KEY and self.joblib == "dask" and self.dask_scheduler is None:
            raise PydanticCustomError("dask_without_scheduler", "dask needs a scheduler")
        return self


class Database(Section):
    """The PostgreSQL server; the embedded one where no address is given."""

    url: Url | None = None
    host: Host | None = None
    port: int = Field(default=5432, ge=1, le=65535)
    name: Name | None = None
    user: User | None = None
    password: SecretStr | None = None
    connect_timeout: float = Field(default=2.0, gt=0, le=600)


class Settings(Section):
    """All settings, checked."""

    lang: Literal["en", "fr"] | None = None
    dataset: str = Field(default="oulad", min_length=1)
    raw_dir: str = Field(default="data/raw", min_length=1)
    cutoff_days: int = Field(default=180, ge=CUTOFF_DAYS[0], le=CUTOFF_DAYS[1])
    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    modes: Modes = Modes()
    extract: Extract = Extract()
    predict: Predict = Predict()
    model: Model = Model()
    evaluation: Evaluation = Evaluation()
    watch: Watch = Watch()
    report: Report = Report()
    retention: Retention = Retention()
    engine: Engine = Engine()
    database: Database = Database()


DATABASE_KEYS = tuple(f"database.{part}" for part in ("url", *ADDRESS_PARTS))
SECRET_KEYS = frozenset({"database.url", "database.password"})
NONE_WORD = "none"
# The last part of a key, and a word for None that says what it means there.
NONE_WORDS = {"sample_size": "all", "threads": "all", "lang": "auto", "memory_limit": "auto"}


def none_word(key: str) -> str | None:
    """Return the word that means None for `key`; None where it has no such value."""
    if key in DATABASE_KEYS or NoneType not in get_args(leaves()[key].annotation):
        return None
    return NONE_WORDS.get(key.rpartition(".")[2], NONE_WORD)


@cache
def leaves() -> Mapping[str, FieldInfo]:
    """Return every setting by dotted key, in the order of the models."""
    return dict(_leaves(Settings, ""))


@cache
def sections() -> frozenset[str]:
    """Return the dotted name of every section."""
    parts = [key.split(".") for key in leaves()]
    return frozenset(".".join(part[:depth]) for part in parts for depth in range(1, len(part)))


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field


# --- what was expected, in words --------------------------------------------------------------


def expected(key: str) -> str:
    """Return in words what may be written for `key`."""
    special = {
        "database.url": _(
            "postgresql://user:password@host:port/name, "
            "special characters of user and password percent-encoded"
        ),
        "database.host": _("a host name or a socket folder; an address goes into DATABASE_URL"),
        "database.name": _("a name; an address goes into DATABASE_URL"),
        "database.user": _("a name; an address goes into DATABASE_URL"),
        "engine.spark_master": _('"local[*]", "spark://host:7077" or "sc://host:15002"'),
        "engine.storage": _('an address such as "s3a://bucket/vigie" or "file:///mnt/vigie"'),
        "engine.memory_limit": _('a size such as "1GB", or "auto"'),
        "engine.dask_scheduler": _('an address such as "tcp://host:8786", or "none"'),
        "model.kind": _("{kinds}, or the import path of a classifier").format(
            kinds=", ".join(f'"{kind}"' for kind in KINDS)
        ),
        "model.params": _("a JSON object in quotes, such as {example}").format(
            example="""'{"max_depth": 5}'"""
        ),
    }
    if key in special:
        return special[key]
    field = leaves()[key]
    choices = list(_choices(field.annotation, field.metadata))
    word = none_word(key)
    if word is not None:
        choices.append(f'"{word}"')
    if len(choices) == 1:
        return choices[0]
    return ", ".join(choices[:-1]) + _(" or ") + choices[-1]


def _choices(annotation: Any, metadata: list[Any]) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _choices(arguments[0], [*annotation.__metadata__, *metadata])
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _choices(argument, metadata)
    elif origin is Literal:
        yield from ("false" if one is False else f'"{one}"' for one in arguments)
    elif annotation is bool:
        yield _("true or false")
    elif annotation in (int, float):
        kind = _("a whole number") if annotation is int else _("a number")
        bounds = _bounds(metadata)
        yield f"{kind} ({bounds})" if bounds else kind
    elif annotation is not NoneType:
        yield _("a text")


def _bounds(metadata: list[Any]) -> str:
    words = {
        "ge": _("at least {bound}"),
        "gt": _("above {bound}"),
        "le": _("at most {bound}"),
        "lt": _("below {bound}"),
    }
    flat: list[Any] = []
    for item in metadata:
        flat.extend(item.metadata if isinstance(item, FieldInfo) else [item])
    found = [
        words[name].format(bound=getattr(item, name))
        for item in flat
        for name in words
        if hasattr(item, name)
    ]
    return ", ".join(found)


# --- values as people write them ---------------------------------------------------------------


def readings(text: str) -> Iterator[int | float | bool | str]:
    """Yield what `text` can mean, the narrowest type first.

    Examples
    --------
    >>> list(readings("5"))
    [5, 5.0, '5']
    """
    # A number longer than that is a mistake, and a longer one still makes int() fail.
    if re.fullmatch(r"[+-]?\d{1,30}", text):
        yield int(text)
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(number):
            yield number
    if text.lower() in ("1", "true", "yes", "on"):
        yield True
    if text.lower() in ("0", "false", "no", "off"):
        yield False
    yield text


def show(key: str, value: Any) -> str:
    """Return `value` as a person writes it, secrets masked."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return mask_url(secret) if key == "database.url" else MASK
    if value is None:
        return none_word(key) or _("not set")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

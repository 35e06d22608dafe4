"""The configuration: layers, refusals told together, and files that load again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import config as configuration
from trainer.config import Config, Layer, assignments, build, load, model_shape, parse_value
from trainer.errors import ConfigurationError, UsageError


def refused(*pairs: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        build(assignments(pairs))
    return [str(fault) for fault in caught.value.faults]


def test_the_defaults_are_those_that_were_promised() -> None:
    config = Config()
    assert config.training.epochs == 3
    assert config.data.vocab_size == 8192
    assert config.device.preference == "auto"
    assert config.device.strict is False
    assert config.training.max_steps is None


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[training]\nepochs = 5\nbatch_size = 4\n")
    config = load(file, assignments(["training.epochs=7"]))
    assert (config.training.epochs, config.training.batch_size) == (7, 4)


def test_every_fault_is_told_at_once_with_file_key_value_and_what_is_allowed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[training]\nepochs = "x"\nbatchsize = 3\n[trainning]\na = 1\n')
    with pytest.raises(ConfigurationError) as caught:
        load(file, assignments(["model.heads=3"]))
    text = str(caught.value)
    assert f"{file}: training.epochs = 'x' is not allowed: a whole number from 1 to 100,000" in text
    assert "training.batchsize is not a setting; did you mean training.batch_size?" in text
    assert "trainning.a" in text
    assert "--set: model.heads = 3 does not divide model.width = 256" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("pair", "guess"),
    [
        ("training.epoch=1", "training.epochs"),
        ("trainer.epochs=1", "training.epochs"),
        ("epochs=1", "training.epochs"),
        ("training.lr=1", "training.learning_rate"),
        ("training.zzzz=1", "[training] has epochs"),
        ("training.learning_rat=1", "training.learning_rate"),
        ("device.prefrence=cpu", "device.preference"),
    ],
)
def test_a_near_miss_is_guessed(pair: str, guess: str) -> None:
    assert guess in refused(pair)[0]


@pytest.mark.parametrize(
    "pair",
    [
        "training.learning_rate=nan",
        "training.learning_rate=inf",
        "training.learning_rate=0",
        "training.learning_rate=-1",
        "training.epochs=0",
        "training.epochs=1.0",
        "training.epochs=true",
        "training.epochs=[1]",
        "training.epochs=null",
        "training.precision=fp8",
        "training.compile=true",
        "training.seed=-1",
        "data.vocab_size=256",
        "data.vocab_size=65537",
        'data.dataset_name=""',
        'data.dataset_name="a\\u0000b"',
        "model.dropout=1",
        "model.preset=huge",
        "evaluation.prompts=hello",
        "evaluation.prompts=[1]",
        "evaluation.stride=257",
        "device.strict=yes",
        "training.dataloader_prefetch_factor=2",
        "model.heads=5",
        "model.kv_heads=3",
        "training.max_steps=0",
        "training.clip_grad_norm=0",
    ],
)
def test_a_wrong_value_is_refused_by_its_key(pair: str) -> None:
    assert pair.partition("=")[0] in refused(pair)[0]


def test_fp16_on_the_cpu_is_an_impossible_pair() -> None:
    assert "needs a GPU" in refused("training.precision=fp16", "device.preference=cpu")[0]


def test_a_head_of_odd_width_is_refused() -> None:
    assert "even number" in refused("model.width=27", "model.heads=3")[0]


def test_null_clears_a_setting_that_may_be_empty() -> None:
    config = build(
        Layer("file", {"training.max_steps": 5}), assignments(["training.max_steps=null"])
    )
    assert config.training.max_steps is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("true", True),
        ('"a b"', "a b"),
        ("bf16", "bf16"),
        ("../shared/data", "../shared/data"),
        ('["a", "b"]', ["a", "b"]),
        ("", ""),
        ("1\nx = 2", "1\nx = 2"),
    ],
)
def test_values_are_toml_and_bare_words_are_strings(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("pair", ["training.epochs", "=3", ""])
def test_what_is_not_an_assignment_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="not an assignment"):
        assignments([pair])


def test_a_fallback_stays_behind_when_another_text_is_chosen_later() -> None:
    file = Layer("file", {"data.dataset_name": "wikitext-2", "data.fallback": "python-docs"})
    assert build(file).data.fallback == "python-docs"
    assert build(file, assignments(["data.dataset_name=owner/name"])).data.fallback is None
    both = assignments(["data.dataset_name=owner/name", "data.fallback=python-docs"])
    assert build(file, both).data.fallback == "python-docs"


def test_limits_are_told_to_the_last_digit() -> None:
    seed = configuration.SETTINGS["training.seed"]
    assert seed.allowed == "a whole number from 0 to 2^63 - 1"


def test_a_preset_chosen_later_wins_over_sizes_chosen_before() -> None:
    stored = configuration.resolved(Config())
    config = build(
        Layer("file", configuration.as_flat(stored)), assignments(["model.preset=small"])
    )
    assert (model_shape(config.model).layers, model_shape(config.model).width) == (6, 384)


def test_parameters_of_the_tiny_model_by_hand() -> None:
    # A block: 4 matrices of 256 x 256, 3 of 256 x 704, norms of 256, 256, 64 and 64.
    block = 4 * 256 * 256 + 3 * 256 * 704 + 256 + 256 + 64 + 64
    assert model_shape(Config().model).parameters(8192) == 4 * block + 256 + 8192 * 256


def test_a_written_configuration_loads_again_to_the_same(tmp_path: Path) -> None:
    config = build(
        assignments(
            [
                'evaluation.prompts=["a \\"quoted\\" \\\\ word", "tab\\tünï"]',
                "training.max_steps=10",
                "training.learning_rate=3.0000000000000004e-4",
                "device.strict=true",
            ]
        )
    )
    file = tmp_path / "out.toml"
    file.write_text(configuration.to_toml(config))
    assert load(file) == config


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_any_text_survives_toml(text: str) -> None:
    assert parse_value(configuration.toml_value(text)) == text


def test_a_name_finds_a_shipped_configuration_and_a_wrong_one_lists_them() -> None:
    assert load("quickstart") != Config()
    with pytest.raises(UsageError, match=r"default, .*quickstart"):
        load("quickstrat")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[training\n", "not valid TOML"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"epochs = 3\n", "did you mean training.epochs"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises((UsageError, ConfigurationError)) as caught:
        load(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_folder_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        load(tmp_path)


@pytest.mark.parametrize("name", sorted(configuration.shipped_configs()))
def test_every_shipped_configuration_is_right_and_comments_each_value(name: str) -> None:
    path = configuration.shipped_configs()[name]
    load(path)
    lines = path.read_text().splitlines()
    values = [i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert values
    assert all(lines[i - 1].startswith("#") for i in values)


def test_the_default_file_holds_the_defaults() -> None:
    assert load("default") == Config()


def test_differences_name_only_what_was_changed() -> None:
    config = build(assignments(["training.epochs=9", "model.preset=small"]))
    changed = configuration.differences(config)
    assert changed["training.epochs"] == 9
    assert changed["model.layers"] == 6
    assert "training.batch_size" not in changed


def test_every_setting_is_described() -> None:
    for setting in configuration.SETTINGS.values():
        assert setting.help.endswith("."), setting.key
        assert setting.allowed


# ---------------------------------------------------------------------- secrets

HOOK = "https://hooks.example.org/T0/s3cret"
SHOWN = "https://hooks.example.org/…"


def hooked() -> Config:
    return build(assignments([f"notify.url={HOOK}", "notify.events=['failed']"]))


def test_a_secret_is_shown_to_nobody_and_stored_for_the_run() -> None:
    config = hooked()
    assert configuration.as_flat(config)["notify.url"] == SHOWN
    assert configuration.differences(config)["notify.url"] == SHOWN
    assert "s3cret" not in " ".join(configuration.command_options(config))
    stored = configuration.to_toml(config, secrets=True)
    assert HOOK in stored
    assert configuration.text_without_secrets(stored) == configuration.to_toml(config)


def test_the_words_of_a_command_keep_no_secret() -> None:
    words = ["--set", f"notify.url={HOOK}", f'--set=notify.url="{HOOK}"', "notify.events=[failed]"]
    told = ["--set", f"notify.url={SHOWN}", f'--set=notify.url="{SHOWN}"', "notify.events=[failed]"]
    assert configuration.without_secrets(words) == told


def test_a_form_that_shows_a_secret_masked_can_be_sent_back() -> None:
    config = hooked()
    form = configuration.Layer("form", configuration.as_flat(config))
    assert build(configuration.secrets_of(config), form) == config
    with pytest.raises(ConfigurationError, match="write the whole address"):
        build(form)


@pytest.mark.parametrize("wrong", ["ftp://h/s3cret", "s3cret", "https://h/s3cret ☃"])
def test_a_refusal_does_not_repeat_a_secret(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(assignments([f"notify.url={wrong}"]))
    assert "notify.url" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_ends_that_are_told_are_named_in_a_refusal() -> None:
    with pytest.raises(ConfigurationError, match="a list of completed, failed, interrupted"):
        build(assignments(["notify.events=['begun']"]))


def test_a_configuration_from_before_there_were_webhooks_loads(tmp_path: Path) -> None:
    before, notify, _ = configuration.to_toml(Config()).partition("\n[notify]\n")
    assert notify
    (tmp_path / "config.toml").write_text(before)
    assert configuration.load_stored(tmp_path / "config.toml").notify.url is None

from vigie.names import suggest


def test_nearest_name_wins() -> None:
    steps = ["extract", "transform", "load", "features", "train", "evaluate", "predict"]
    assert suggest("feature", steps) == "features"
    assert suggest("TRAIN", steps) == "train"
    assert suggest("evalaute", steps) == "evaluate"
    assert suggest("sample-size", ["sample_size"]) == "sample_size"
    assert suggest("zzz", steps) is None
    assert suggest("", steps) is None

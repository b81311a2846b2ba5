"""Recipes: typed, changed by dotted keys, refused by name."""

import pytest
import yaml

from seamo.errors import RecipeError
from seamo.manifest import shipped_manifest
from seamo.pretrain.recipe import apply_changes, differences, load_recipe, parse_recipe, shipped_recipes


def test_the_shipped_recipes_are_there_and_read_back():
    assert {"seamo-base", "seamo-large", "seamo-huge", "seamo-small", "seamo-tiny"} <= set(shipped_recipes())
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert parse_recipe(yaml.safe_load(yaml.safe_dump(recipe.to_dict())), name) == recipe


def test_base_is_the_paper():
    # arXiv 2412.19237, section 4.1: 20 and 200 epochs, batch 2048, base learning rate 1e-4, ratio 75 %, ViT-B, AdamW.
    recipe = load_recipe("seamo-base")
    assert (recipe.stage1.epochs, recipe.stage2.epochs) == (20, 200)
    assert recipe.optimiser.batch == 2048
    assert recipe.optimiser.lr == pytest.approx(8e-4)
    assert recipe.model.mask.ratio == 0.75
    assert (recipe.model.dim, recipe.model.depth, recipe.model.heads, recipe.model.decoder.depth) == (768, 12, 12, 4)
    assert recipe.model.num_visible == 64
    assert recipe.crop.rate == (0.5, 1.0)
    assert recipe.config(1).tm.mode == "none"
    assert not recipe.config(1).temporal
    assert recipe.config(2).tm.mode == "fuse"


def test_what_follows_the_paper_normalises_as_ssl4eo_s12_does():
    """Section 4.1.2; first and last of the lists as SpectralGPT's and SSL4EO-S12's code print them."""
    for name in ("seamo-base", "seamo-large", "seamo-huge"):
        data = load_recipe(name).data
        assert (data.stacks, data.scaling) == ({"s2": "s2a", "s1": "s1"}, "two-sigma")
        optical, radar = (shipped_manifest()["ssl4eo-s12"].statistics[data.statistics[s]] for s in ("s2", "s1"))
        assert (optical.mean["B01"], optical.std["B12"]) == (752.40087073, 1343.48379601)
        assert (radar.mean["VV"], radar.std["VH"]) == (-12.54847273, 5.91150917)


def test_changes_by_dotted_keys():
    recipe = load_recipe("seamo-tiny", ["model.mask.ratio=0.5", "optimiser.clip=1.0", "crop.mode=same_full", "seed=7"])
    assert recipe.model.mask.ratio == 0.5
    assert recipe.optimiser.clip == 1.0
    assert recipe.crop.mode == "same_full"
    assert recipe.seed == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.batch=3", "unknown key 'optimizer'. Did you mean 'optimiser'"),
        ("optimiser.bach=3", "optimiser: unknown key 'bach'. Did you mean 'batch'"),
        ("model.tm.mod=none", "unknown key 'mod'. Did you mean 'mode'"),
        ("model.patsh=8", "unknown key 'patsh'. Did you mean 'patch'"),
        ("crop.rates=0.5", "unknown key 'rates'. Did you mean 'rate'"),
        ("machine.micro_batch=0", "machine.micro_batch"),
        ("model.patch=7", "not a multiple of patch 7"),
        ("stage1.warmup_epochs=10", "10 epochs of warm-up in 10"),
        ("stage1.sensors=[s3]", "stage1.sensors: names s3"),
        ("stage2.sensors=[s2]", "stage 2 learns from all sensors"),
        ("crop.share_flip=false", "must look at the same ground"),
        ("data.stacks={s2: s2a}", "names s2, the model's sensors are s2, s1"),
        ("seed", "is not key=value"),
        ("name.first=3", "'name' holds a value, not keys"),
        ("seed=[1", "is not a YAML value"),
    ],
)
def test_a_wrong_change_says_what_and_where(change, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe("seamo-tiny", [change])
    assert message in str(caught.value)


def test_there_are_no_default_statistics():
    entry = load_recipe("seamo-tiny").to_dict()
    del entry["data"]["statistics"]
    with pytest.raises(RecipeError, match=r"data.statistics"):
        parse_recipe(entry, "mine.yaml")


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    with pytest.raises(RecipeError, match="Did you mean 'seamo-base'"):
        load_recipe("seamo-bas")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(RecipeError, match="not a mapping"):
        load_recipe(str(tmp_path / "list.yaml"))


def test_differences_name_what_changes_results():
    one = load_recipe("seamo-tiny").to_dict()
    other = apply_changes(one, ["optimiser.batch=64", "machine.workers=7", "about=x", "model.bands.s1=[VV]"])
    assert differences(one, other) == ["model.bands.s1: ['VV', 'VH'] -> ['VV']", "optimiser.batch: 32 -> 64"]

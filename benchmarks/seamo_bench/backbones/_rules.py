"""Key rules of published files that several families share: how their pretraining codes save. No torch here."""

from seamo_bench.family import KeyRules

# DINO's teacher is what is evaluated; saved with `module.` where it has BatchNorm, without where it has none.
DINO_TEACHER = KeyRules(places=("teacher", ""), strip=("module.", "backbone."), drop=("head.*", "module.head.*"))
# MoCo's query encoder, without its projection, the key encoder and the queue.
MOCO_QUERY = KeyRules(
    places=("state_dict",),
    strip=("module.encoder_q.",),
    drop=("module.encoder_q.fc.*", "module.encoder_k.*", "module.queue*"),
)
# SeCo and CaCo: a numbered nn.Sequential(conv1, bn1, relu, maxpool, layer1..layer4), bare, or the query encoder of a
# Lightning file.
SEQUENTIAL_RESNET = KeyRules(
    places=("state_dict", ""),
    strip=("encoder_q.",),
    rename=(
        (r"^0\.", "conv1."),
        (r"^1\.", "bn1."),
        (r"^4\.", "layer1."),
        (r"^5\.", "layer2."),
        (r"^6\.", "layer3."),
        (r"^7\.", "layer4."),
    ),
    drop=("encoder_k.*", "heads_q.*", "heads_k.*", "queue", "queue_ptr"),
)

"""Supervised ResNets on ImageNet-1k (He et al. 2016; weights of timm, Wightman et al. 2021, arXiv 2110.00476)."""

from seamo_bench.backbones._inputs import rgb_inputs
from seamo_bench.backbones._networks import resnet
from seamo_bench.backbones._variant import resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family, KeyRules


def _card(net: str) -> BackboneCard:
    depth = net.removeprefix("r")
    hub = f"resnet{depth}.a1_in1k"
    return BackboneCard(
        id=f"resnet{depth}-in1k",
        family="resnet_imagenet",
        title=f"ResNet-{depth} (supervised, ImageNet-1k)",
        inputs=rgb_inputs(f"huggingface.co/timm/{hub} (ImageNet mean and standard deviation)"),
        embed_dim=resnet_levels(net)[-1][0],
        size=224,
        multiple_of=32,
        code_licence="Apache-2.0",
        source="arXiv 2110.00476; github.com/huggingface/pytorch-image-models",
        pooling="global average of the last stage",
        levels=resnet_levels(net),
        weights=Weights(
            urls=(f"https://huggingface.co/timm/{hub}/resolve/main/model.safetensors",),
            filename=f"{hub}.safetensors",
            licence="Apache-2.0",
        ),
        pretrained_on=("imagenet-1k",),
        verified=("package",),
        variant=resnet_variant(net),
    )


# Names as in torchvision; the classifier goes.
FAMILY = Family(cards=(_card("r50"), _card("r18")), build=resnet, rules=KeyRules(drop=("fc.*",)))

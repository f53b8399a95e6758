"""Index of the published numbers: source, licence and caveats of each file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_TIDY: Mapping[str, str] = {
    "source": "text",
    "dataset": "text",
    "architecture": "text",
    "method": "text",
    "sparsity": "number",
    "compression": "number",
    "weights_remaining": "number",
    "metric": "text",
    "value": "number",
    "std": "number",
    "replicate": "text",
    "note": "text",
}


@dataclass(frozen=True)
class Reference:
    """A file of published numbers.

    `columns` are its columns with their kinds: text, number or count. `remarks` are sentences to
    show with a method. `datasets` and `networks` translate its names to ours; the key of a network
    on one dataset is "dataset/network". Both are empty if it has no curves.
    """

    title: str
    file: str
    cited: str
    source: str
    licence: str
    caveats: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=lambda: _TIDY)
    remarks: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_curves(self) -> bool:
        """Return whether it has curves, which figures can draw."""
        return bool(self.networks)

    def ours(self, dataset: str, network: str) -> tuple[str, str] | None:
        """Return our names of its dataset and network, or None if we do not have them."""
        named = self.networks.get(f"{dataset}/{network}") or self.networks.get(network)
        return (self.datasets[dataset], named) if named and dataset in self.datasets else None


_SHRINKBENCH = "ShrinkBench (Blalock et al. 2020), github.com/JJGO/shrinkbench at b244974"

INDEX: dict[str, Reference] = {
    "synflow2020": Reference(
        title="SynFlow's figure 6: accuracy at compressions 1 to 1000 of twelve problems",
        file="synflow2020_fig6_accuracy.csv",
        cited="Tanaka et al. 2020",
        source="Tanaka, Kunin, Yamins and Ganguli, Pruning neural networks without any data by "
        "iteratively conserving synaptic flow, NeurIPS 2020; result data released at "
        "github.com/ganguli-lab/Synaptic-Flow",
        licence="none stated: numbers carried as cited facts",
        caveats=(
            "Accuracy is the best over epochs on the test set.",
            "The optimizer was handed duplicate parameters: the effective learning rate was 2 to "
            "5 times the nominal one, and a correct trainer cannot meet the curves exactly.",
            "Wide ResNet-18 has the parameter shapes of ResNet-18 (its width was ignored): "
            "three more ResNet-18 seeds.",
            "A value equal to chance is layer collapse.",
        ),
        columns={
            "dataset": "text",
            "architecture": "text",
            "method": "text",
            "log10_compression": "number",
            "replicate": "count",
            "test_accuracy_percent": "number",
        },
        remarks={
            "grasp": "GraSP was published with its score's sign inverted (fixed in the code "
            "later, data never regenerated)."
        },
        datasets={
            "cifar10": "cifar10",
            "cifar100": "cifar100",
            "tinyimagenet": "tiny_imagenet",
        },
        networks={
            "vgg11_bn": "vgg11_bn",
            "vgg16_bn": "vgg16_bn",
            "resnet18": "resnet18_small_stem",
            "tinyimagenet/vgg11_bn": "vgg11_bn_three_linear",
            "tinyimagenet/vgg16_bn": "vgg16_bn_three_linear",
        },
    ),
    "lottery_tix2019": Reference(
        title="ResNet-50 on ImageNet, top-1 by epoch of rewinding and of pruning",
        file="shrinkbench_lottery_tix_resnet50.csv",
        cited="ShrinkBench, lottery-tix",
        source=_SHRINKBENCH,
        licence="MIT",
        caveats=("The folder alone names the study: the paper is not named there.",),
    ),
    "gale2019": Reference(
        title="The state of sparsity: ResNet-50 on ImageNet",
        file="gale2019_state_of_sparsity_resnet50.csv",
        cited="Gale et al. 2019",
        source="Gale, Elsen and Hooker, The state of sparsity in deep neural networks, 2019; "
        f"via {_SHRINKBENCH}",
        licence="Apache-2.0",
        caveats=(
            "sparsity is the target for magnitude and random, and the measured value for the "
            "others.",
            "metric says whether a value is a fraction or per cent.",
        ),
    ),
    "blalock2020": Reference(
        title="The results that 81 pruning papers reported",
        file="blalock2020_survey_results.csv",
        cited="Blalock et al. 2020",
        source="Blalock, Gonzalez Ortiz, Frankle and Guttag, What is the state of neural network "
        f"pruning?, MLSys 2020; {_SHRINKBENCH}",
        licence="MIT",
        caveats=("Definitions of compression differ from paper to paper: read note.",),
    ),
    "paper_tables": Reference(
        title="Tables of SNIP, Stabilizing the lottery ticket hypothesis, Rare Gems and N:M",
        file="paper_text_tables.csv",
        cited="as source says, row by row",
        source="Lee et al. 2019 (SNIP), Frankle et al. 2019 (arXiv 1903.01611), Sreenivasan et "
        "al. 2022 (Rare Gems, anonymous submission), Zhou et al. 2021 (N:M)",
        licence="quoted figures",
        caveats=("Some rows were quoted by their source from other works: read note.",),
    ),
}
"""References by name."""

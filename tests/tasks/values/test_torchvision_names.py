"""Names of torchvision's networks, read from its files without importing it."""

from torchvision import models

from tasks.values.torchvision_names import torchvision_networks


def test_the_names_are_those_that_torchvision_itself_lists() -> None:
    images = models.list_models(module=models)
    assert torchvision_networks() == {*images, *models.list_models(module=models.quantization)}

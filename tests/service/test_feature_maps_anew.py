"""service.feature_maps, of a version that is published anew while its graph is open."""

from pathlib import Path

import numpy as np

from service.aside import Aside
from service.feature_maps import FeatureMaps
from service.manifest import FEATURE_MAPS, Layer, Manifest, file_entry
from tests.service.stripes import manifest_of
from tests.service.test_feature_maps import NEVER, CountingEngine, counting

IMAGE = np.zeros((28, 28, 1), np.uint8)
LAYER = Layer(
    name="pixels", type="Conv2D", shape=[28, 28, 1], parameters=0, trainable=0, minimum=0, maximum=1
)


async def test_the_graph_of_a_version_that_was_published_anew_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "stripes" / "1"
    folder.mkdir(parents=True)
    engines: list[CountingEngine] = []
    aside = Aside(max_waiting=2)
    maps = FeatureMaps(tmp_path, counting(engines), aside, idle=1000)
    for published in (b"a graph", b"another"):
        (folder / FEATURE_MAPS).write_bytes(published)
        files = {
            name: file_entry(folder / FEATURE_MAPS).model_dump() for name in ("model.onnx", FEATURE_MAPS)
        }
        manifest = Manifest.model_validate(manifest_of("stripes", "1", "mnist", files))
        await maps.of(manifest.model_copy(update={"layers": [LAYER]}), IMAGE, NEVER)
    assert len(engines) == 2
    maps.close()
    aside.close()

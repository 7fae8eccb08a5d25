"""An image of PIL that was saved or shown is captured."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import libraries, proof, refused  # noqa: E402

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("use", [lambda im, p: im.save(p), lambda im, p: im._repr_png_()])
def test_what_saving_leaves_comes_back(tmp_path, use):
    image = Image.new("RGB", (4, 3), "red")
    use(image, tmp_path / "x.png")
    made = libraries.reduce(image)
    back = made[0](*made[1])
    made[5](back, made[2])
    assert vars(back).keys() == vars(image).keys()
    assert back.tobytes() == image.tobytes() and back.encoderconfig == image.encoderconfig
    assert proof.equal(image, back, {})


def test_an_image_that_nobody_saved_is_pickled_in_its_own_way():
    assert libraries.reduce(Image.new("L", (2, 2))) is NotImplemented


def test_the_exif_of_an_image_comes_back():
    image = Image.new("L", (2, 2))
    image.getexif()[271] = "a"
    made = libraries.reduce(image)
    back = made[0](*made[1])
    made[5](back, made[2])
    assert dict(back.getexif()) == {271: "a"}
    other = Image.new("L", (2, 2))
    other.getexif()[271] = "b"
    assert not proof.equal(image, other, {})


def test_an_image_with_a_palette_of_more_than_colours_is_refused():
    image = Image.new("P", (1, 1))
    image.putpalette([1, 2, 3, 4], "RGBA")
    with pytest.raises(refused.Uncapturable, match="palette"):
        libraries.reduce(image)

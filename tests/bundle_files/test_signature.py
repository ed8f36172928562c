"""A signature over bundle.sha256: made and checked by the commands of docs/bundles.md, and nothing else is taken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import android_bench.bundle
import dr_edge
from dr_edge import extras, metadata
from dr_edge.bundle_files import signature
from dr_edge.bundle_files.read import read_bundle
from dr_edge.prediction.bundle import open_bundle
from export.bundle.write import export_run

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "bundles.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Signed by its publisher")[2].partition("\n## ")[0]
MAKE_KEYS, _, BY_HAND = (block.strip() for block in re.findall(r"```bash\n(.*?)```", SECTION, re.S))
READERS = {
    "predict and serve": lambda bundle, key: open_bundle(bundle, require_signature=key),
    "Python": lambda bundle, key: dr_edge.open_bundle(bundle, require_signature=key),
    "bench": lambda bundle, key: android_bench.bundle.read_bundle(bundle, require_signature=key),
}


def openssl(directory: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(command, shell=True, check=True, cwd=directory, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """signing_key.pem and public_key.pem, as docs/bundles.md makes them; other ones of other kinds."""
    directory = tmp_path_factory.mktemp("keys")
    openssl(directory, *MAKE_KEYS.splitlines())
    openssl(
        directory,
        "openssl genpkey -algorithm ed25519 -out other.pem && openssl pkey -in other.pem -pubout -out other_public.pem",
        "openssl genpkey -algorithm ed25519 -aes-256-cbc -pass pass:secret -out locked.pem",
        "openssl genpkey -algorithm ed448 -out ed448.pem && openssl pkey -in ed448.pem -pubout -out ed448_public.pem",
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem",
        "openssl rsa -in rsa.pem -pubout -out rsa_public.pem",
        "openssl req -x509 -new -key rsa.pem -subj /CN=x -out certificate.pem",
        "cat public_key.pem other_public.pem > two.pem",
        "head -c 40 signing_key.pem > cut.pem; sed 2s/./x/ public_key.pem | head -c 70 > damaged.pem",
        "ssh-keygen -q -t ed25519 -N '' -f id; : > empty.pem",
    )
    (directory / "damaged.pem").write_text("-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n")
    (directory / "damaged_private.pem").write_text("-----BEGIN PRIVATE KEY-----\nMCow\n-----END PRIVATE KEY-----\n")
    return directory


@pytest.fixture
def signed(bundle: Path, keys: Path) -> Path:
    """`bundle`, signed."""
    signature.sign(bundle, signature.signing_key(keys / "signing_key.pem"))
    return bundle


@pytest.fixture(params=READERS)
def check(request: pytest.FixtureRequest):
    """check(bundle, public key): each of those that open a bundle."""
    return READERS[request.param]


def test_an_export_signs_and_openssl_agrees(stand_in_run, keys, tmp_path):
    bundle = tmp_path / "bundles" / "idrid"
    bundle.parent.mkdir()
    export_run(stand_in_run, bundle, ("float32",), sign=keys / "signing_key.pem")
    for name in ("signing_key.pem", "public_key.pem"):
        shutil.copy(keys / name, tmp_path)
    assert len((bundle / "bundle.sha256.sig").read_bytes()) == 64
    before = (bundle / "bundle.sha256.sig").read_bytes()
    done = subprocess.run(f"set -e\n{BY_HAND}", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Verified Successfully" in done.stdout, done.stderr
    assert (bundle / "bundle.sha256.sig").read_bytes() == before  # Ed25519 signs alike each time
    assert read_bundle(bundle, keys / "public_key.pem")
    with pytest.raises(FileExistsError):  # an export never mixes with what stands there
        export_run(stand_in_run, bundle, ("float32",), sign=keys / "other.pem")
    assert read_bundle(bundle.rename(tmp_path / "renamed"), keys / "public_key.pem")


def test_all_who_open_a_bundle_check_it(signed, keys, check):
    assert check(signed, keys / "public_key.pem")
    assert check(signed, None)
    for wrong, said in (
        ("other_public.pem", "is not the signature of .*somebody else signed it, or one of the two files was changed"),
        ("ed448_public.pem", "the key is one of Ed448, and Ed25519 is needed"),
        ("missing.pem", "No such file"),
    ):
        with pytest.raises((ValueError, OSError), match=said):
            check(signed, keys / wrong)


def test_a_changed_bit_in_any_file_is_refused(signed, keys, tmp_path):
    """Also where whoever changed it wrote bundle.sha256 anew."""
    from resealed import reseal

    for path in sorted(path for path in signed.rglob("*") if path.is_file()):
        name = path.relative_to(signed)
        if name.name == "README.md":  # is said, see test_digests.py
            continue
        copy = Path(shutil.copytree(signed, tmp_path / "copy"))
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(metadata.ManifestError):
            read_bundle(copy, keys / "public_key.pem")
        shutil.rmtree(copy)
    content = metadata.read_manifest(signed, "bundle")
    content["task"]["class_names"].reverse()
    reseal(signed, content)
    assert read_bundle(signed)  # what bundle.sha256 alone does not see
    with pytest.raises(metadata.ManifestError, match="is not the signature of"):
        read_bundle(signed, keys / "public_key.pem")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bundle: (bundle / "bundle.sha256.sig").unlink(), r"is not signed: it has no bundle\.sha256\.sig"),
        (lambda bundle: (bundle / "bundle.sha256").unlink(), r"has no bundle\.sha256, and --require_signature asks"),
        (lambda bundle: (bundle / "bundle.sha256.sig").write_bytes(b"x" * 63), "is no signature of 64 bytes"),
        (lambda bundle: (bundle / "bundle.sha256.sig").write_bytes(b"x" * 65), "is no signature of 64 bytes"),
        (lambda bundle: (bundle / "bundle.sha256.sig").write_bytes(b"x" * 64), "is not the signature of"),
        (lambda bundle: (bundle / "metadata.json").unlink(), r"holds no metadata\.json"),
        (shutil.rmtree, "is no directory"),
    ],
)
def test_what_is_missing_is_said(signed, keys, change, said):
    change(signed)
    with pytest.raises(metadata.ManifestError, match=said) as caught:
        read_bundle(signed, keys / "public_key.pem")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("locked.pem", "the key has a password, and none is asked for here"),
        ("rsa.pem", "the key is one of RSA, and Ed25519 is needed: openssl genpkey -algorithm ed25519"),
        ("ed448.pem", "the key is one of Ed448, and Ed25519 is needed"),
        ("public_key.pem", "holds one PUBLIC KEY; one PRIVATE KEY is needed: openssl genpkey"),
        ("certificate.pem", "holds one CERTIFICATE; one PRIVATE KEY is needed"),
        ("id", "holds one OPENSSH PRIVATE KEY; one PRIVATE KEY is needed"),
        ("id.pub", "holds no PEM; one PRIVATE KEY is needed"),
        ("empty.pem", "holds no PEM"),
        ("cut.pem", "is damaged or of an unknown kind"),
        ("damaged_private.pem", "is damaged or of an unknown kind"),
    ],
)
def test_a_key_that_cannot_sign_is_said_before_the_work(keys, stand_in_run, tmp_path, name, said):
    with pytest.raises(signature.KeyFileError, match=said) as caught:
        export_run(stand_in_run, tmp_path / "out", ("float32",), sign=keys / name)
    assert str(caught.value).startswith(f"--sign={keys / name}") and not (tmp_path / "out").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("signing_key.pem", "holds one PRIVATE KEY; one PUBLIC KEY is needed: openssl pkey -in PRIVATE_KEY -pubout"),
        ("locked.pem", "holds one ENCRYPTED PRIVATE KEY; one PUBLIC KEY"),
        ("two.pem", "holds 2 PEM blocks; one PUBLIC KEY is needed"),
        ("rsa_public.pem", "the key is one of RSA, and Ed25519 is needed"),
        ("certificate.pem", "holds one CERTIFICATE; one PUBLIC KEY"),
        ("damaged.pem", "is damaged or of an unknown kind"),
        ("id.pub", "holds no PEM"),
    ],
)
def test_a_key_that_cannot_check_is_said(signed, keys, name, said):
    with pytest.raises(signature.KeyFileError, match=said):
        read_bundle(signed, keys / name)
    with pytest.raises(signature.KeyFileError, match=f"require_signature={re.escape(str(keys / name))}") as caught:
        dr_edge.open_bundle(signed, require_signature=keys / name)
    assert not str(caught.value).startswith("--")  # an argument, no flag


def test_without_the_library_the_extra_is_named(signed, keys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert read_bundle(signed)
    line = r'needs cryptography: pip install "dr_edge\[sign\]"'
    with pytest.raises(extras.Missing, match=f"--require_signature {line}"):
        read_bundle(signed, keys / "public_key.pem")
    with pytest.raises(extras.Missing, match=f"^require_signature {line}"):
        dr_edge.open_bundle(signed, require_signature=keys / "public_key.pem")


def test_the_commands_refuse_in_one_line(signed, keys):
    """predict, serve and bench, as a user calls them."""
    bundle, key = f"--bundle={signed}", f"--require_signature={keys / 'other_public.pem'}"
    for module, *arguments in (
        ("dr_edge.predict", bundle, key, "eye.jpg"),
        ("dr_edge.serve", bundle, key, "--port=0"),
        ("android_bench", bundle, key, "--target=host", f"--out={signed.parent / 'bench'}"),
    ):
        line = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert "is not the signature of --require_signature=" in done.stderr and done.stdout == ""

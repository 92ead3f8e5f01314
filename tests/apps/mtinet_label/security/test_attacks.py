"""Every hole of MONAI Label that was exploited once, and relatives, against a server that was started plainly.

The answers are written down in ``apps/mtinet_label/security.json``, which the README shows; after a change of the
guard, ``MTINET_WRITE_SECURITY_TABLE=1`` writes it anew.
"""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import nibabel as nib
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

TABLE = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label" / "security.json"
CANARY = b"canary-outside-the-studies"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Attack:
    """One request that must not get what it wants.

    Args:
        aim: what it wants.
        method: of HTTP.
        target: path and query as they go over the wire; ``ROOT`` stands for the folder above the studies.
        status: of the answer.
        fields: of a form; ``ROOT`` as above.
        files: of a form: name, file name, key of ``contents``.
        body: raw.
        headers: more or others; None leaves one out.
    """

    aim: str
    method: str
    target: str
    status: int
    fields: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)


def infer(aim: str, params: str, status: int = 400) -> Attack:
    """An inference of a study that there is, with such parameters."""
    return Attack(aim, "POST", "/infer/mtinet?image=liver-01", status, fields={"params": params})


def save(aim: str, query: str, *, filename: str = "label.nii.gz", content: str = "mask", status: int = 400) -> Attack:
    """A label that is saved."""
    return Attack(aim, "PUT", f"/datastore/label?{query}", status, fields={}, files={"label": (filename, content)})


WRITES = "write a file outside the studies"
READS = "read a file outside the studies"
CODE = "run code"
CLOSED = "use what this server does not offer"
DISK = "fill the memory"
PAGES = "talk to the server from a strange page"
PACS = "reach the PACS beyond reading studies"

ATTACKS = (
    save(WRITES, "image=liver-01&tag=../../.."),
    save(WRITES, "image=liver-01&tag=..%2F..%2F.."),
    save(WRITES, "image=liver-01&tag=%252e%252e%252f%252e%252e"),
    save(WRITES, "image=liver-01&tag=..%5C..%5Cx"),
    save(WRITES, "image=liver-01&tag=final%00"),
    save(WRITES, "image=liver-01&tag=final%2F..%2Fx"),
    save(WRITES, "image=liver-01&tag=%EF%BC%8E%EF%BC%8E%EF%BC%8Fx"),
    save(WRITES, "image=liver-01&tag=%c0%ae%c0%ae%c0%afx"),
    save(WRITES, "image=liver-01&tag=final&tag=../../x"),
    save(WRITES, "image=../../x&tag=final"),
    save(WRITES, "image=ROOT/x&tag=final"),
    save(WRITES, "image=liver-99&tag=final", status=404),
    save(WRITES, "image=liver-01&tag=final", filename="../../../x.nii.gz", status=415),
    save(WRITES, "image=liver-01&tag=final", filename="x.nii.gz/../../y", status=415),
    save(WRITES, "image=liver-01&tag=final", filename="x.sh", status=415),
    save(WRITES, "image=liver-01&tag=final", filename="x.nii.gz\\..\\..\\y.bat", status=415),
    Attack(WRITES, "PUT", "/datastore/image?image=../../x", 403, fields={}, files={"file": ("x.nii.gz", "mask")}),
    Attack(WRITES, "PUT", "/datastore/?image=..%2F..%2Fx", 403, fields={}, files={"file": ("x.nii.gz", "mask")}),
    Attack(WRITES, "DELETE", "/datastore/image?id=liver-01", 403),
    Attack(WRITES, "DELETE", "/datastore/?id=..%2Fsecret", 403),
    Attack(WRITES, "DELETE", "/datastore/label?id=liver-01&tag=../..", 400),
    Attack(WRITES, "DELETE", "/datastore/label?id=../secret&tag=final", 400),
    Attack(WRITES, "PUT", "/model/mtinet", 403, fields={}, files={"file": ("x.pt", "mask")}),
    Attack(WRITES, "PUT", "/model/..%2F..%2Fx", 403, fields={}, files={"file": ("x.pt", "mask")}),
    Attack(WRITES, "PUT", "/session/", 403, fields={}, files={"files": ("../../x.nii.gz", "mask")}),
    Attack(WRITES, "PUT", "/datastore/label/info?label=liver-01&tag=../..", 400, fields={"info": "{}"}),
    Attack(WRITES, "PUT", "/datastore/updatelabelinfo?label=..%2Fx&tag=final", 400, fields={"params": "{}"}),
    Attack(WRITES, "PUT", "/datastore/image/info?image=../x", 400, fields={"info": "{}"}),
    Attack(WRITES, "PUT", "/mtinet/studies/..%2F..%2Fx/diagnosis", 404, body=b'{"diagnosis": "hcc"}', headers=JSON),
    Attack(WRITES, "PUT", "/mtinet/studies/%2e%2e/diagnosis", 404, body=b'{"diagnosis": "hcc"}', headers=JSON),
    Attack(WRITES, "PUT", "/mtinet/studies/liver-01/diagnosis", 400, body=b'{"diagnosis": "../../x"}', headers=JSON),
    Attack(WRITES, "PUT", "/mtinet/studies/liver-01/label", 415, fields={}, files={"mask": ("../../x.nrrd", "nrrd")}),
    Attack(READS, "POST", "/infer/mtinet?image=ROOT/secret.nii.gz", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=%2Fetc%2Fpasswd", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=%252Fetc%252Fpasswd", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=..%2Fsecret.nii.gz", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=C:%5Csecret.nii.gz", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=file:%2F%2F%2Fetc%2Fpasswd", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=secret.nii.gz", 404, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=app", 404, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?image=liver-01&image=ROOT/secret.nii.gz", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet?session_id=abc", 400, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/mtinet", 400, fields={"params": "{}"}, files={"file": ("x.nii.gz", "mask")}),
    Attack(READS, "POST", "/infer/..%2Fmtinet?image=liver-01", 404, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/%2e%2e?image=liver-01", 404, fields={"params": "{}"}),
    Attack(READS, "POST", "/infer/unknown?image=liver-01", 404, fields={"params": "{}"}),
    infer(READS, '{"image": "ROOT/secret.nii.gz"}'),
    infer(READS, '{"image": "liver-02", "image": "ROOT/secret.nii.gz"}'),
    infer(READS, '{"model": "other"}'),
    infer(READS, '{"file": "ROOT/secret.nii.gz"}'),
    infer(READS, '{"session": {"image": "ROOT/secret.nii.gz"}}'),
    infer(READS, '{"save_label": true, "label_tag": "../../x"}'),
    infer(READS, '{"result_extension": "/../../x.nii.gz"}'),
    infer(READS, '{"result_dtype": "object"}'),
    infer(READS, '{"label_info": [{"name": "hcc", "path": "/etc/passwd"}]}'),
    infer(READS, '{"client_id": "../../x"}'),
    infer(READS, '{"threshold": "/etc/passwd"}'),
    Attack(
        READS,
        "POST",
        "/infer/mtinet?image=liver-01",
        400,
        body=b"params=%7B%22image%22%3A%22%2Fetc%2Fpasswd%22%7D",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    Attack(
        READS,
        "POST",
        "/infer/mtinet?image=liver-01",
        400,
        fields={"params": "{}"},
        files={"label": ("label.nrrd", "nrrd that names a file")},
    ),
    Attack(
        READS,
        "POST",
        "/infer/mtinet?image=liver-01",
        415,
        fields={"params": "{}"},
        files={"label": ("label.nii", "nifti in two files")},
    ),
    Attack(READS, "GET", "/datastore/image?image=../secret", 400),
    Attack(READS, "GET", "/datastore/image?image=%2Fetc%2Fpasswd", 400),
    Attack(READS, "GET", "/datastore/image?image=secret", 404),
    Attack(READS, "HEAD", "/datastore/image?image=..%2Fsecret", 400),
    Attack(READS, "GET", "/datastore/image?image=liver-01&check_sum=x:../..", 400),
    Attack(READS, "GET", "/datastore/image/info?image=../secret", 400),
    Attack(READS, "GET", "/datastore/label?label=liver-01&tag=../..", 400),
    Attack(READS, "GET", "/datastore/label?label=..%2F..%2Fsecret&tag=final", 400),
    Attack(READS, "GET", "/datastore/label/info?label=liver-01&tag=.", 400),
    Attack(READS, "GET", "/datastore/?output=train", 400),
    Attack(READS, "GET", "/datastore/dataset", 403),
    Attack(READS, "GET", "/static/..%2F..%2Fapp.py", 404),
    Attack(READS, "GET", "/static/%2e%2e/%2e%2e/app.py", 404),
    Attack(READS, "GET", "/ohif/..", 404),
    Attack(READS, "GET", "/ohif/..%2F..%2F..%2Fconfig.py", 404),
    Attack(READS, "GET", "/viewer/..%2F..%2Fmain.py", 404),
    Attack(READS, "GET", "/viewer//etc/passwd", 404),
    Attack(READS, "GET", "/mtinet/studies/..%2F..%2Fsecret/result", 404),
    Attack(READS, "GET", "/mtinet/studies?state=../../secret", 400),
    Attack(READS, "GET", "/mtinet/studies?path=x", 400),
    Attack(READS, "GET", "/logs/?lines=-1", 403),
    Attack(READS, "GET", "/model/mtinet", 403),
    infer(CODE, '{"_target_": "os.system", "command": "id"}'),
    infer(CODE, '{"threshold": {"_target_": "os.system"}}'),
    infer(CODE, '{"threshold": "$__import__(\\"os\\").system(\\"id\\")"}'),
    infer(CODE, '{"client_id": "$import os"}'),
    infer(CODE, '{"client_id": "@network_def"}'),
    infer(CODE, '{"client_id": "%train.yaml"}'),
    infer(CODE, '{"client_id": "\uff04import os"}'),
    infer(CODE, '{"device": "cuda:0"}'),
    infer(CODE, "[" * 20_000),
    infer(CODE, '{"slice": NaN}'),
    Attack(CODE, "POST", "/train/mtinet", 400, body=b'{"epochs": "$1+1"}', headers=JSON),
    Attack(CODE, "POST", "/train/mtinet", 400, body=b'{"bundle_path": "/tmp/x"}', headers=JSON),
    Attack(CODE, "POST", "/train/mtinet", 400, body=b'{"device": "cpu"}', headers=JSON),
    Attack(CODE, "POST", "/train/mtinet", 400, body=b'{"network#_target_": "os.system"}', headers=JSON),
    Attack(CODE, "POST", "/train/", 400, body=b'{"mtinet": {"run_id": "$import os"}}', headers=JSON),
    Attack(CODE, "POST", "/train/unknown", 404, body=b"{}", headers=JSON),
    Attack(CODE, "POST", "/train/mtinet?run_sync=true", 400, body=b"{}", headers=JSON),
    Attack(CODE, "POST", "/activelearning/first", 400, body=b'{"strategy": "../../x"}', headers=JSON),
    Attack(CODE, "POST", "/activelearning/..%2Ffirst", 404, body=b"{}", headers=JSON),
    Attack(CODE, "POST", "/activelearning/unknown", 404, body=b"{}", headers=JSON),
    Attack(CODE, "POST", "/activelearning/first", 415, body=b"{}", headers={"Content-Type": "text/plain"}),
    Attack(CODE, "POST", "/mtinet/training", 400, body=b'{"network": {"_target_": "os.system"}}', headers=JSON),
    Attack(CODE, "POST", "/mtinet/training", 400, body=b'{"note": "$import os"}', headers=JSON),
    Attack(CLOSED, "POST", "/reload", 403),
    Attack(CLOSED, "DELETE", "/model/mtinet", 403),
    Attack(CLOSED, "POST", "/batch/infer/mtinet", 403, body=b"{}", headers=JSON),
    Attack(CLOSED, "POST", "/infer/wsi/mtinet?image=liver-01", 403, body=b"{}", headers=JSON),
    Attack(CLOSED, "POST", "/infer/wsi_v2/mtinet?image=liver-01", 403, fields={}),
    Attack(CLOSED, "GET", "/session/abc", 403),
    Attack(CLOSED, "GET", "/logs/gpu", 403),
    Attack(CLOSED, "POST", "/scoring/dice", 403, body=b"{}", headers=JSON),
    Attack(CLOSED, "PATCH", "/datastore/label", 405),
    Attack(CLOSED, "GET", "/no/such/address", 404),
    Attack(CLOSED, "POST", "/infer/mtinet?image=liver-01&output=dicom_seg", 400, fields={"params": "{}"}),
    save(DISK, "image=liver-01&tag=final", content="larger than allowed", status=413),
    save(DISK, "image=liver-01&tag=final", content="small, unpacks to 512 MB", status=413),
    save(DISK, "image=liver-01&tag=final", content="unpacks to more than it says"),
    save(DISK, "image=liver-01&tag=final", filename="label.nrrd", content="mask", status=415),
    save(DISK, "image=liver-01&tag=final", filename="label.nii.gz", content="nrrd", status=415),
    Attack(DISK, "POST", "/activelearning/first", 413, body=b'{"a": "' + b"x" * 1_100_000 + b'"}', headers=JSON),
    Attack(DISK, "GET", "/mtinet/studies?state=" + "x" * 9000, 414),
    Attack(PAGES, "GET", "/info/", 403, headers={"Origin": "https://evil.example"}),
    Attack(PAGES, "GET", "/info/", 403, headers={"Origin": "null"}),
    Attack(PAGES, "GET", "/info/", 403, headers={"Origin": "https://viewer.example:8443.evil.example"}),
    Attack(PAGES, "POST", "/activelearning/first", 403, headers={"Origin": "https://evil.example"}),
    Attack(PAGES, "POST", "/activelearning/first", 403, headers={"Sec-Fetch-Site": "cross-site"}),
    Attack(PAGES, "GET", "/info/", 421, headers={"Host": "rebound.evil.example"}),
    Attack(PAGES, "GET", "/info/", 421, headers={"Host": "127.0.0.1.evil.example"}),
    Attack(PAGES, "GET", "/info/", 403, headers={"X-Forwarded-For": "192.0.2.7"}),
    Attack(
        PAGES,
        "OPTIONS",
        "/info/",
        403,
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    ),
    Attack(PACS, "GET", "/proxy/dicom/wado/..%2F..%2Finstances", 403),
    Attack(PACS, "GET", "/proxy/dicom/../system", 403),
    Attack(PACS, "GET", "/proxy/dicom/qido/studies%3Flimit=1%26x=..%2F..", 403),
    Attack(PACS, "POST", "/proxy/dicom/stow/studies", 403, body=b"x", headers={"Content-Type": "application/dicom"}),
    Attack(PACS, "POST", "/proxy/dicom/wado/studies", 403, body=b"x", headers={"Content-Type": "application/dicom"}),
    Attack(PACS, "GET", "/proxy/http:%2F%2F169.254.169.254%2F", 403),
    Attack(PACS, "GET", "/mtinet/dicom-web/..%2F..%2Fsystem", 403),
    Attack(PACS, "GET", "/mtinet/dicom-web/studies/1.2.3/../../../system", 403),
    Attack(PACS, "DELETE", "/mtinet/dicom-web/studies/1.2.3", 403),
)


def login(aim: str, method: str, target: str, status: int, token: str, **more: object) -> Attack:
    """A request with one of ``forged_tokens``."""
    return Attack(aim, method, target, status, headers={"Authorization": f"Bearer {token}"}, **more)


FORGED = "log in with a token that is none"
ROLES = "do more than one's role allows"

LOGIN_ATTACKS = (
    Attack(FORGED, "GET", "/info/", 401),
    Attack(FORGED, "GET", "/mtinet/studies", 401),
    Attack(FORGED, "GET", "/mtinet/dicom-web/studies", 401),
    Attack(FORGED, "GET", "/proxy/dicom/wado/studies", 401),
    Attack(FORGED, "GET", "/datastore/image?image=liver-01", 401),
    Attack(FORGED, "POST", "/infer/mtinet?image=liver-01", 401, fields={}),
    Attack(FORGED, "POST", "/reload", 401),
    Attack(FORGED, "POST", "/train/mtinet", 401, body=b"{}", headers=JSON),
    Attack(FORGED, "PUT", "/datastore/label?image=liver-01", 401, fields={}, files={"label": ("x.nii.gz", "mask")}),
    Attack(FORGED, "GET", "/info/?access_token=x", 401),
    Attack(FORGED, "GET", "/info/", 401, headers={"Authorization": "Basic YWRtaW46YWRtaW4="}),
    login(FORGED, "GET", "/info/", 401, "no token at all"),
    login(FORGED, "GET", "/info/", 401, "of algorithm none"),
    login(FORGED, "GET", "/info/", 401, "of HS256 with the public key as secret"),
    login(FORGED, "GET", "/info/", 401, "signed with another key"),
    login(FORGED, "GET", "/info/", 401, "with roles changed after signing"),
    login(FORGED, "GET", "/info/", 401, "expired"),
    login(FORGED, "GET", "/info/", 401, "that never expires"),
    login(FORGED, "GET", "/info/", 401, "not valid yet"),
    login(FORGED, "GET", "/info/", 401, "for another audience"),
    login(FORGED, "GET", "/info/", 401, "for no audience"),
    login(FORGED, "GET", "/info/", 401, "of another realm"),
    login(FORGED, "GET", "/info/", 401, "of an identity, not of access"),
    login(FORGED, "GET", "/info/", 401, "of nobody"),
    login(ROLES, "GET", "/info/", 403, "without roles"),
    login(ROLES, "POST", "/train/mtinet", 403, "of a user", body=b""),
    login(ROLES, "DELETE", "/train/", 403, "of an annotator"),
    login(ROLES, "POST", "/mtinet/training", 403, "of an annotator", body=b""),
    login(ROLES, "POST", "/reload", 403, "of an annotator"),
    login(ROLES, "GET", "/logs/", 403, "of an annotator"),
    login(ROLES, "GET", "/model/mtinet", 403, "of an annotator"),
    login(ROLES, "DELETE", "/datastore/label?id=liver-01&tag=final", 403, "of an annotator"),
    login(ROLES, "PUT", "/datastore/label?image=liver-01", 403, "of a user", fields={}),
    login(ROLES, "PUT", "/mtinet/studies/liver-01/diagnosis", 403, "of a user", body=b""),
    login(ROLES, "GET", "/datastore/dataset", 403, "of a user"),
    login(ROLES, "PUT", "/model/mtinet", 403, "of an administrator", fields={}),
    login(ROLES, "PUT", "/datastore/image?image=x", 403, "of an administrator", fields={}),
    login(ROLES, "PUT", "/datastore/label?image=liver-01&tag=../..", 400, "of an administrator", fields={}),
)


def nrrd(*fields: str, data: bytes = b"") -> bytes:
    """An NRRD file of such header lines."""
    return "\n".join(("NRRD0004", *fields, "", "")).encode() + data


@pytest.fixture(scope="module")
def contents(nifti_bytes: bytes) -> dict[str, bytes]:
    """What the attacks upload."""
    mask = nib.Nifti1Image(np.zeros((6, 5, 4), np.uint8), np.eye(4))
    two_files = bytearray(mask.to_bytes())
    two_files[344:348] = b"ni1\0"
    voxels = nrrd("type: uint8", "dimension: 3", "sizes: 6 5 4", "encoding: raw", data=bytes(120))
    huge = nib.Nifti1Header()
    huge.set_data_shape((1024, 1024, 512))
    huge.set_data_dtype(np.uint8)
    huge["magic"] = b"n+1"
    huge["vox_offset"] = 352
    return {
        "mask": nifti_bytes,
        "nrrd": voxels,
        "nrrd that names a file": voxels.replace(b"encoding: raw", b"data file: /etc/passwd\nencoding: raw"),
        "nifti in two files": bytes(two_files),
        "larger than allowed": nifti_bytes + bytes(1 << 20),
        "small, unpacks to 512 MB": gzip.compress(huge.binaryblock + bytes(4)) + zlib.compress(bytes(1 << 16)),
        "unpacks to more than it says": gzip.compress(mask.to_bytes() + bytes(1 << 22)),
    }


def outside(root: Path) -> dict[str, bytes]:
    """The files above the studies and among them, but for the log and what MONAI Label's datastore keeps about itself.

    Its lock comes and goes at any time: a thread of its own watches the folder.
    """
    own = {"datastore_v2.json", ".lock"}
    files = (path for path in root.rglob("*") if path.name not in own and path.suffix != ".log" and path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def plant_secrets(root: Path) -> None:
    """What no answer may hold, above the studies."""
    (root / "secret.txt").write_bytes(CANARY)
    secret = nib.Nifti1Image(np.frombuffer(CANARY, np.uint8)[:24].reshape(4, 3, 2), np.eye(4))
    nib.save(secret, root / "secret.nii.gz")


@pytest.fixture(scope="module")
def forged_tokens(realm) -> dict[str, str]:
    """The tokens of ``LOGIN_ATTACKS``."""
    roles = ("user", "annotator", "admin")
    good = realm.claims(*roles)
    head, _, signature = realm.token("user").split(".")
    other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    more_roles = base64.urlsafe_b64encode(json.dumps(good).encode()).rstrip(b"=").decode()
    now = int(time.time())
    secret = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode() + f".{more_roles}"
    by_public_key = hmac.digest(realm.public_pem.encode(), secret.encode(), "sha256")
    return {
        "no token at all": "x.y.z",
        "of algorithm none": jwt.encode(good, None, algorithm="none"),
        "of HS256 with the public key as secret": f"{secret}.{base64.urlsafe_b64encode(by_public_key).decode()}",
        "signed with another key": jwt.encode(good, other_key, algorithm="RS256"),
        "with roles changed after signing": f"{head}.{more_roles}.{signature}",
        "expired": realm.token(*roles, exp=now - 60, iat=now - 600),
        "that never expires": realm.token(*roles, exp=None),
        "not valid yet": realm.token(*roles, nbf=now + 3600),
        "for another audience": realm.token(*roles, aud="account"),
        "for no audience": realm.token(*roles, aud=None),
        "of another realm": realm.token(*roles, iss="http://127.0.0.1:1/realms/other"),
        "of an identity, not of access": realm.token(*roles, typ="ID"),
        "of nobody": realm.token(*roles, preferred_username=None),
        "without roles": realm.token(realm_access=None),
        "of a user": realm.token("user"),
        "of an annotator": realm.token("user", "annotator"),
        "of an administrator": realm.token(*roles),
    }


@pytest.fixture(scope="module")
def ask(contents: dict[str, bytes], form: Callable[..., tuple[bytes, str]]) -> Callable[..., list[dict[str, object]]]:
    """``ask(server, attacks, tokens)``: every attack, made; the rows of the table."""

    def make(server: Any, attacks: tuple[Attack, ...], tokens: Mapping[str, str]) -> list[dict[str, object]]:
        return [row(server, attack, tokens, contents, form) for attack in attacks]

    return make


def row(
    server: Any,
    attack: Attack,
    tokens: Mapping[str, str],
    contents: Mapping[str, bytes],
    form: Callable[..., tuple[bytes, str]],
) -> dict[str, object]:
    """One attack and its answer."""
    root, body, headers = str(server.root), attack.body, dict(attack.headers)
    if attack.fields is not None:
        fields = {name: value.replace("ROOT", root) for name, value in attack.fields.items()}
        files = {name: (filename, contents[key]) for name, (filename, key) in attack.files.items()}
        body, headers["Content-Type"] = form(fields, files)
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    if token in tokens:
        headers["Authorization"] = f"Bearer {tokens[token]}"
    answer = server.ask(attack.method, attack.target.replace("ROOT", root), body, headers)
    told = answer.body.decode()
    assert answer.status == attack.status, (attack, answer.status, told)
    assert answer.headers["content-type"] == "application/json"
    assert root not in told
    assert CANARY.decode() not in told
    assert not re.search(r"Traceback|\.py\b|/etc/", told), told
    detail = json.loads(told)["detail"] if told else ""
    return {"aim": attack.aim, "request": written(attack), "status": answer.status, "answer": detail}


@pytest.fixture(scope="module")
def answers(guarded_server: Any, ask: Callable[..., list[dict[str, object]]]) -> list[dict[str, object]]:
    """Of the attacks on a server with logins off, which must leave every file as it was."""
    root = guarded_server.root
    plant_secrets(root)
    before = outside(root)
    rows = ask(guarded_server, ATTACKS, {})
    assert outside(root) == before
    return rows


def written(attack: Attack) -> str:
    """The request as a reader of the table understands it."""
    parts = [f"{attack.method} {attack.target}"]
    parts += [f"{name}: {value}" for name, value in attack.headers.items() if name != "Content-Type"]
    parts += [f"{name}={value}" for name, value in (attack.fields or {}).items() if value != "{}"]
    parts += [f"{name}: file {filename!r} ({key})" for name, (filename, key) in attack.files.items()]
    parts += [attack.body.decode()] if attack.body and attack.body != b"{}" else []
    return " · ".join(part if len(part) <= 100 else f"{part[:60]} … ({len(part)} characters)" for part in parts)


@pytest.fixture(scope="module")
def login_answers(
    login_server: Any, ask: Callable[..., list[dict[str, object]]], forged_tokens: dict[str, str]
) -> list[dict[str, object]]:
    """Of the attacks on a server with logins on."""
    return ask(login_server, LOGIN_ATTACKS, forged_tokens)


def test_attacks_are_answered_as_the_documentation_says(
    answers: list[dict[str, object]], login_answers: list[dict[str, object]]
) -> None:
    table = {"logins_off": answers, "logins_on": login_answers}
    if os.environ.get("MTINET_WRITE_SECURITY_TABLE") == "1":
        TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    assert json.loads(TABLE.read_text()) == table


@pytest.mark.slow
def test_app_itself_answers_the_same(
    serve_app: Callable[..., Any], ask: Callable[..., list[dict[str, object]]]
) -> None:
    real_server = serve_app()
    real = [replace(attack, target=attack.target.replace("ing/first", "ing/random")) for attack in ATTACKS]
    plant_secrets(real_server.root)
    before = outside(real_server.root)

    ask(real_server, tuple(real), {})

    assert outside(real_server.root) == before
    assert "liver-0" not in real_server.log.read_text()


@pytest.mark.slow
def test_app_itself_knows_its_users(
    serve_app: Callable[..., Any],
    realm: Any,
    ask: Callable[..., list[dict[str, object]]],
    forged_tokens: dict[str, str],
) -> None:
    server = serve_app(MONAI_LABEL_AUTH_ENABLE="true", MONAI_LABEL_AUTH_REALM_URI=realm.uri)
    reader = {"Authorization": f"Bearer {realm.token('user', 'annotator')}"}

    ask(server, LOGIN_ATTACKS, forged_tokens)
    listed = server.ask("GET", "/mtinet/studies", headers=reader)
    said = b'{"diagnosis": "hcc", "reader": "somebody else"}'
    saved = server.ask("PUT", "/mtinet/studies/liver-01/diagnosis", said, reader | JSON)

    assert listed.json["total"] == 5
    assert (saved.json["label"]["diagnosis"], saved.json["label"]["reader"]) == ("hcc", "reader-1")


def test_reload_leaves_one_guard(login_server: Any, realm: Any) -> None:
    administrator = {"Authorization": f"Bearer {realm.token('user', 'admin')}"}
    assert login_server.ask("POST", "/reload", headers=administrator).status == 200

    reloaded = login_server.ask("GET", "/info/", headers=administrator)
    seen = len(login_server.log.read_text())
    attacked = login_server.ask("GET", "/datastore/image?image=../secret", headers=administrator)
    login_server.ask("GET", "/no/such/address", headers=administrator)
    # A line is written after its answer was sent: once that of the later request is there, the earlier one's is.
    lines, give_up = "", time.monotonic() + 30
    while "an address that is not there 404" not in lines and time.monotonic() < give_up:
        time.sleep(0.05)
        lines = login_server.log.read_text()[seen:]

    assert (reloaded.status, attacked.status) == (200, 400)
    assert lines.count("GET /datastore/image 400") == 1


def test_unguarded_server_falls_for_an_attack(tmp_path: Path) -> None:
    """What the attacks aim at is there: the datastore behind the guard writes where a tag says."""
    from monailabel.datastore.local import LocalDatastore

    (tmp_path / "studies").mkdir()
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "studies" / "liver-01.nii.gz")
    store = LocalDatastore(str(tmp_path / "studies"), extensions=["*.nii.gz"], auto_reload=False)

    store.save_label("liver-01", str(tmp_path / "studies" / "liver-01.nii.gz"), "../..", {})

    assert (tmp_path / "liver-01.nii.gz").is_file()

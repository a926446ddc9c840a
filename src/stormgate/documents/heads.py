"""Which documents say what they are: a kind, and the apiVersion that belongs to it."""

from __future__ import annotations

from stormgate.documents.problems import Problems, nearest
from stormgate.documents.shapes import API_VERSION
from stormgate.documents.slo.read import KINDS as OPENSLO_KINDS
from stormgate.documents.slo.shape import API_VERSION as OPENSLO_VERSION
from stormgate.documents.yamlfile import Document, listed

OUR_KINDS = ("ReleaseGate", "Target", "Waivers", "Incident", "GameDay")


def headed(documents: list[Document], problems: Problems) -> list[Document]:
    """The documents that say what they are: a mapping whose kind and apiVersion belong together.
    The rest is noted.
    """
    found = []
    for document in listed(documents):
        if not isinstance(document.data, dict):
            problems.add(
                document.file,
                document.line(),
                "not a document",
                "write apiVersion, kind, metadata and spec",
            )
            continue
        kind, version = document.data.get("kind"), document.data.get("apiVersion")
        if kind in OUR_KINDS or kind in OPENSLO_KINDS:
            wanted = API_VERSION if kind in OUR_KINDS else OPENSLO_VERSION
            if version != wanted:
                said = "no apiVersion" if version is None else f"apiVersion {version!r}"
                problems.add(
                    document.file,
                    document.line("apiVersion"),
                    f"{said} for kind {kind}",
                    f"write apiVersion: {wanted}",
                )
                # Read on as if it were right: one mistake, one message.
                document.data["apiVersion"] = wanted
            found.append(document)
            continue
        message = "no kind" if kind is None else f"unknown kind {kind!r}"
        problems.add(
            document.file,
            document.line("kind"),
            message,
            nearest(str(kind), (*OUR_KINDS, *OPENSLO_KINDS), what="kinds"),
        )
    return found

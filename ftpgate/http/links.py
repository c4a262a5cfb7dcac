"""The addresses under which a grant can be reached, and the Metalink (RFC 5854) that lists them all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from ftpgate import aria2, placement
from ftpgate.delivery.context import DeliveryContext
from ftpgate.endpoints import client_addresses
from ftpgate.grants import GateState
from ftpgate.http.messages import Headers
from ftpgate.placement import Place
from ftpgate.tokens import Token
from ftpgate.tree import Folder, GrantTree, Leaf

METALINK_NAME = "downloads.meta4"
METALINK_SUFFIX = ".meta4"
"""Behind the path of a file, zip or folder: its own Metalink."""
METALINK_TYPE = "application/metalink4+xml"

_EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104


class Links(NamedTuple):
    """Where the root of a grant is, each with a slash at its end; None for a protocol that does not listen.

    `mirrors` are other gates with the same files.
    """

    http: str | None
    ftp: str | None
    mirrors: tuple[Links, ...] = ()


def links(gate: DeliveryContext, token: Token, host: str, secure: bool) -> Links:
    """The addresses of this gate to hand to the client that asked it for `host` (its `Host` header, or '').

    `FTPGATE_ADVERTISE` and `FTPGATE_PUBLIC_HOST` decide when they are set. Otherwise the way by which the client has come is
    known to be good.
    """
    web = "https" if secure else "http"
    http = host if host and not _told(gate, web) else (gate.link(web) or host)
    scheme = "ftps" if gate.tls_required and "ftps" in gate.addresses else "ftp"
    ftp = gate.link(scheme)
    if ftp is not None and host and ftp.rpartition(":")[0] in _EVERYWHERE:
        ftp = _at(host, ftp)
    return _links(token, web, http, scheme, ftp)


def all_links(gate: DeliveryContext, token: Token, host: str, secure: bool, customer: str) -> Links:
    """The addresses of all gates that this customer is to use (`ftpgate.placement`), the best first.

    Of several, those of this gate itself are the last ones when the customer is to use others, and while it drains.
    """
    own = links(gate, token, host, secure)
    if gate.membership is None or not gate.membership.others:
        return own
    settings = gate.settings
    running = [other for other in gate.membership.others if other.state is GateState.RUNNING]
    others = [
        Place(client_addresses(each.address.listening, each.address.advertised, settings.public_host), each.load.busy)
        for each in running
    ]
    here = gate.place
    chosen = placement.ranked(customer, placement.places([*others, *([] if gate.draining else [here])]))
    scheme = "ftps" if gate.tls_required and "ftps" in gate.addresses else "ftp"
    web = "https" if secure else "http"
    found = [
        own if place.name == here.name else _links(token, web, place.addresses.get(web), scheme, place.addresses.get(scheme))
        for place in chosen
    ]
    first, *mirrors = [each for each in found if each.http or each.ftp] or [own]
    if own is not first and own not in mirrors:
        mirrors.append(own)
    return first._replace(mirrors=tuple(mirrors))


def _links(token: Token, web: str, http: str | None, scheme: str, ftp: str | None) -> Links:
    secret = token.reveal()
    return Links(
        None if http is None else f"{web}://{http}/d/{secret}/",
        None if ftp is None else f"{scheme}://{secret}:x@{ftp}/",
    )


def _told(gate: DeliveryContext, protocol: str) -> bool:
    """Do the settings say where clients find this?"""
    return gate.settings.public_host is not None or protocol in gate.settings.advertise


def over_tls(gate: DeliveryContext, host: str) -> str | None:
    """`H:P` where the client that asked for `host` is served over TLS, or None when nothing listens there."""
    found = gate.link("https")
    return _at(host, found) if found is not None and host and not _told(gate, "https") else found


def _at(host: str, address: str) -> str:
    """The name in `host`, which may have a port, with the port of `address`."""
    name = host if host.endswith("]") else host.partition(":")[0] if host[0] != "[" else host.rpartition(":")[0]
    return f"{name}:{address.rpartition(':')[2]}"


def hints(found: Links) -> Headers:
    """What to do with them, for the page."""
    assert found.http is not None, "the page came by it"
    made = [
        ("Any download manager", found.http + METALINK_NAME),
        ("aria2", " && ".join(map(" ".join, aria2.commands(found.http)))),
    ]
    # wget does not know rel=nofollow: without the pattern it would fetch the zips too, and everything twice. The pages themselves
    # are not kept, under a name that no file of an item has: an item may well have an index.html of its own.
    zips = r"--reject-regex '/d/[^/]+/[^/]+\.zip$'"
    pages = "--default-page=.folder -R '.folder*'"
    made.append(("wget", f"wget -c -r -np -nH --cut-dirs=2 -e robots=off {pages} {zips} {found.http}"))
    if found.ftp is not None:
        made += (("FTP", found.ftp), ("lftp", f"lftp -c 'mirror -c {found.ftp} .'"))
    return made


def aria2_list(files: Iterable[tuple[str, Leaf]], found: Links) -> Iterator[str]:
    """Addresses, names and hashes, in the form of an input file of aria2."""
    for name, leaf in files:
        yield f"{found.http}{quote(leaf.path[1:], safe='/')}\n  out={name}\n"
        if leaf.resource.sha256 is not None:
            yield f"  checksum=sha-256={leaf.resource.sha256.hex()}\n"


def described_by(address: str) -> tuple[str, str]:
    """The header that tells where the Metalink of an answer is (RFC 6249 section 4); `address` as of the request, or relative."""
    return "Link", f'<{address}>; rel=describedby; type="{METALINK_TYPE}"'


def metalink(files: Iterable[tuple[str, Leaf]], found: Links) -> Iterator[str]:
    """A Metalink, as text in pieces. It names HTTP at all gates before FTP, each by a priority of its own (RFC 5854, 4.2.16.1).

    Args:
        files: each under the name that it is to be saved as.
    """
    gates = (found, *found.mirrors)
    roots = [root for root in (*(each.http for each in gates), *(each.ftp for each in gates)) if root is not None]
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n'
    for name, leaf in files:
        digest = leaf.resource.sha256
        encoded = quote(leaf.path[1:], safe="/")
        yield f"<file name={quoteattr(name)}><size>{leaf.resource.size}</size>"
        if digest is not None:
            yield f'<hash type="sha-256">{digest.hex()}</hash>'
        for priority, root in enumerate(roots, 1):
            yield f'<url priority="{priority}">{escape(root + encoded)}</url>'
        yield "</file>\n"
    yield "</metalink>\n"


def all_files(tree: GrantTree) -> Iterator[tuple[str, Leaf]]:
    """Of a grant, with their folders. Zips are left out: nobody wants everything twice."""
    for folder, _ in tree.folders():
        yield from files_of(folder)


def files_of(found: Folder | Leaf) -> Iterator[tuple[str, Leaf]]:
    """A file by its name, or those of a folder, with their folders."""
    if isinstance(found, Leaf):
        yield found.name, found
    else:
        yield from ((leaf.path[1:], leaf) for leaf in leaves(found))


def leaves(folder: Folder) -> Iterator[Leaf]:
    """Every file below `folder`, in order."""
    for entry in folder.entries:
        if isinstance(entry, Leaf):
            yield entry
        else:
            yield from leaves(entry)

"""ACLs made on a broker, and the tables of docs/security.md made of them.

python -m tests.support.permits    writes the tables anew
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from schemas.topics import Topics
from streams.acls import CODES, Acl, check, consumers, create, inspect, producers, redrive, worker

RESOURCES: Final = {"Topic": 2, "Group": 3, "TransactionalId": 5}
PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- acls: python -m tests.support.permits -->", "<!-- end of acls -->"

LITERAL, PREFIXED, ALLOW = 3, 4, 3

TITLES: Final = {
    worker: "`hitrun worker`",
    create: "`hitrun topics create`",
    check: "`hitrun topics check`",
    redrive: "`hitrun redrive`",
    inspect: "`hitrun inspect`",
    producers: "Producers of the inputs",
    consumers: "Consumers of the outputs",
}


def tables(topics: Topics) -> str:
    """All of it as docs/security.md has it."""
    parts = []
    for acls, title in TITLES.items():
        rows = [f"### {title}", "", "| allow | on | named | for |", "|---|---|---|---|"]
        for acl in acls(topics):
            name = f"`{acl.name}`" + (" (prefix)" if acl.prefixed else "")
            rows.append(f"| {acl.operation} | {acl.resource} | {name} | {acl.why} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


async def allow(admin: AIOKafkaAdminClient, user: str, acls: Sequence[Acl]) -> None:
    """Makes the ACLs; from then on (a moment later) the user may do this."""
    node = admin._client.get_random_node()
    for acl in acls:
        pattern = PREFIXED if acl.prefixed else LITERAL
        operation = CODES[acl.operation]
        answer = await admin._client.send(
            node,
            CreateAclsRequest(
                RESOURCES[acl.resource], acl.name, pattern, f"User:{user}", "*", operation, ALLOW
            ),
        )
        for code, message in answer.creation_responses:
            if code:
                raise for_code(code)(message)


def renewed(page: str, topics: Topics) -> str:
    """docs/security.md with the tables as they should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(topics)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(), Topics()))

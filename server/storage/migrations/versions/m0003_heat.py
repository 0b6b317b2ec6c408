"""What heat and power did to a device, and which telemetry it spoils."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the heat report, JSON text, to what devices report, and marks to windows and totals."""
    op.add_column("reported", sa.Column("heat", sa.Text))
    op.add_column(
        "telemetry_windows", sa.Column("is_throttled", sa.Boolean, nullable=False, server_default=sa.false())
    )
    for name in ("throttled_windows", "throttled_requests"):
        op.add_column("telemetry_totals", sa.Column(name, sa.Integer, nullable=False, server_default="0"))

"""Which delegate ran, beside what it did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add a column for the delegate report, JSON text, to windows and totals."""
    for table in ("telemetry_windows", "telemetry_totals"):
        op.add_column(table, sa.Column("delegate", sa.Text))

"""Where `conf/`, the demo data and the doors lie: beside `src/` in a checkout, within the package where a wheel was installed."""

from pathlib import Path

SHIPPED = Path(__file__).resolve().parent / "shipped"
PROJECT = SHIPPED if SHIPPED.is_dir() else Path(__file__).resolve().parents[2]

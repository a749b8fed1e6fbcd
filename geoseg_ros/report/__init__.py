"""Reports: one self-contained HTML page of numbers, charts, tables and pictures."""

from geoseg_ros.report.charts import LineChart, PathChart, Series
from geoseg_ros.report.content import Card, Facts, FrameView, Legend, Panel, Report, Section, Table
from geoseg_ros.report.page import render_report, write_report

__all__ = [
    "Card",
    "Facts",
    "FrameView",
    "Legend",
    "LineChart",
    "Panel",
    "PathChart",
    "Report",
    "Section",
    "Series",
    "Table",
    "render_report",
    "write_report",
]

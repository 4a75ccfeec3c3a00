"""One reader a file format. Each takes plain keywords and gives a `Collection` by `read()`."""

from picdesk.data.readers.aligned import Aligned
from picdesk.data.readers.clip_retrieval import ClipRetrieval
from picdesk.data.readers.coco import Coco
from picdesk.data.readers.flickr8k import Flickr8k
from picdesk.data.readers.folder import Folder
from picdesk.data.readers.hugging_face import HuggingFace
from picdesk.data.readers.karpathy import Karpathy
from picdesk.data.readers.newsimages import NewsImages
from picdesk.data.readers.npz import Npz
from picdesk.data.readers.parquet import Parquet
from picdesk.data.readers.tables import Csv, Jsonl
from picdesk.data.readers.webdataset import WebDataset

__all__ = [
    "Aligned",
    "ClipRetrieval",
    "Coco",
    "Csv",
    "Flickr8k",
    "Folder",
    "HuggingFace",
    "Jsonl",
    "Karpathy",
    "NewsImages",
    "Npz",
    "Parquet",
    "WebDataset",
]

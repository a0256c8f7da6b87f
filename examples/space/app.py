"""The page of prune for a Hugging Face Space; not deployed, see README.md beside this file."""

import os

from prune.web.server import serve

if __name__ == "__main__":
    serve(host="0.0.0.0", port=int(os.environ.get("PORT", "7860")))  # the Space's own proxy is in front of it

"""`python -m stormgate.load -f any.py ...`: Locust with Stormgate's recording, also for files that
know nothing of Stormgate.
"""

from __future__ import annotations

from locust.main import main

from stormgate.load.locust.plugin import install

if __name__ == "__main__":
    install()
    main()

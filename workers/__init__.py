"""The fleet: Celery workers that reserve before they call, publish once, and lose nothing."""

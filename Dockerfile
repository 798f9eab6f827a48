FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# Dependencies first: they change more seldom than the code.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY ratelimit ratelimit
COPY providers providers
COPY workers workers
RUN pip install --no-deps . && useradd --system --uid 10001 --home-dir /app tidegate

USER tidegate
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["--help"]

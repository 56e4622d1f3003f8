# An object store that speaks S3, as the other tests have it, for machines that share no volume
FROM python:3.13-slim-trixie
COPY s3.txt /build/
RUN python -m pip install --quiet --no-cache-dir --require-hashes -r /build/s3.txt
COPY object_store.py /
USER 10002:10002
EXPOSE 9000
CMD ["python", "/object_store.py", "-H", "0.0.0.0", "-p", "9000"]

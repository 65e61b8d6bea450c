"""The server under test, as boto3 sees it. Address and keys come from the environment, as the
harness sets them."""

import os
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024


def client(**settings):
    """An S3 client; retries are off, because a failure is a finding."""
    settings.setdefault("retries", {"total_max_attempts": 1})
    return boto3.client("s3", config=Config(**settings))


def pattern(length, seed=0):
    """Bytes that differ from place to place and from seed to seed."""
    unit = b"".join((n * 2654435761 + seed).to_bytes(8, "little") for n in range(8191))
    return (unit * (length // len(unit) + 1))[:length]


class BucketCase(unittest.TestCase):
    """A test case with a bucket of its own for each test."""

    def setUp(self):
        self.s3 = client()
        self.bucket = "b" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=self.bucket)

    def put(self, key, body=b"", **more):
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def get(self, key, **more):
        return self.s3.get_object(Bucket=self.bucket, Key=key, **more)

    def read(self, key, **more):
        return self.get(key, **more)["Body"].read()

    def head(self, key, **more):
        return self.s3.head_object(Bucket=self.bucket, Key=key, **more)

    def exists(self, key):
        try:
            self.head(key)
            return True
        except ClientError as error:
            self.assertEqual(error.response["ResponseMetadata"]["HTTPStatusCode"], 404)
            return False

    def refused(self, status, code, operation, **arguments):
        """Calls the operation, which must be refused with this status and code."""
        with self.assertRaises(ClientError) as caught:
            operation(**arguments)
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"], code, response)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status, response)
        return response

    def upload_parts(self, key, parts, **more):
        """Starts an upload and sends the parts; returns its id and what completing it takes."""
        created = self.s3.create_multipart_upload(Bucket=self.bucket, Key=key, **more)
        upload_id, sent = created["UploadId"], []
        for number, body in enumerate(parts, 1):
            part = self.s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body,
                **{k: v for k, v in more.items() if k == "ChecksumAlgorithm"})
            sums = {k: v for k, v in part.items() if k.startswith("Checksum")}
            sent.append({"PartNumber": number, "ETag": part["ETag"], **sums})
        return upload_id, sent

    def complete(self, key, upload_id, parts, **more):
        return self.s3.complete_multipart_upload(
            Bucket=self.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts},
            **more)

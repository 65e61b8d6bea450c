"""A bucket that everybody may write: uploads by a client without credentials, which sends its
bodies in aws-chunked with a checksum behind them when the connection is TLS."""

import unittest

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from server import MIB, BucketCase, pattern


class Anonymous(BucketCase):
    def setUp(self):
        super().setUp()
        self.s3.delete_bucket_ownership_controls(Bucket=self.bucket)
        self.s3.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1})
        self.nobody = boto3.client("s3", config=config)

    def test_an_object_is_stored_as_it_was_sent(self):
        for body in [b"", b"x", pattern(3 * MIB + 1)]:
            put = self.nobody.put_object(Bucket=self.bucket, Key="a b+ü", Body=body)
            self.assertEqual(self.read("a b+ü"), body)
            head = self.head("a b+ü", ChecksumMode="ENABLED")
            self.assertEqual(put["ChecksumCRC32"], head["ChecksumCRC32"])
            self.assertNotIn("ContentEncoding", head)

    def test_a_coding_of_the_object_is_kept(self):
        self.nobody.put_object(Bucket=self.bucket, Key="k", Body=b"x", ContentEncoding="gzip")
        self.assertEqual(self.head("k")["ContentEncoding"], "gzip")

    def test_parts_are_uploaded_too(self):
        created = self.s3.create_multipart_upload(Bucket=self.bucket, Key="k")
        part = self.nobody.upload_part(
            Bucket=self.bucket, Key="k", UploadId=created["UploadId"], PartNumber=1, Body=b"part")
        self.complete("k", created["UploadId"], [{"PartNumber": 1, "ETag": part["ETag"]}])
        self.assertEqual(self.read("k"), b"part")


if __name__ == "__main__":
    unittest.main()

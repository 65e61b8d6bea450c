"""RenameObject on any bucket: what comes along, what is refused, and what a repeated request does."""

import datetime
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from botocore.exceptions import ClientError
from server import MIB, BucketCase, pattern


class Renaming(BucketCase):
    def rename(self, source, key, **more):
        return self.s3.rename_object(
            Bucket=self.bucket, Key=key, RenameSource=quote(source, safe=""), **more)

    def keys(self):
        listed = self.s3.list_objects_v2(Bucket=self.bucket)
        return [o["Key"] for o in listed.get("Contents", [])]

    def test_everything_but_the_key_stays(self):
        tags = "colour=blue"
        for key, length in [("empty", 0), ("inline", 100), ("chunk", MIB), ("chunks", 4 * MIB + 7)]:
            body = pattern(length)
            self.put(key, body, Metadata={"m": "1"}, ContentType="text/x-test", Tagging=tags)
            before = self.head(key, ChecksumMode="ENABLED")
            self.rename(key, f"new/{key}")
            self.assertFalse(self.exists(key))
            after = self.head(f"new/{key}", ChecksumMode="ENABLED")
            for name in ["ETag", "LastModified", "Metadata", "ContentType", "ContentLength"]:
                self.assertEqual(after[name], before[name])
            self.assertEqual(self.read(f"new/{key}"), body)
            shown = self.s3.get_object_tagging(Bucket=self.bucket, Key=f"new/{key}")
            self.assertEqual(shown["TagSet"], [{"Key": "colour", "Value": "blue"}])

    def test_an_object_of_parts_stays_one(self):
        parts = [pattern(5 * MIB), pattern(1000, 1)]
        upload, sent = self.upload_parts("k", parts)
        self.complete("k", upload, sent)
        etag = self.head("k")["ETag"]
        self.rename("k", "renamed")
        self.assertEqual(self.read("renamed"), b"".join(parts))
        self.assertEqual(self.head("renamed")["ETag"], etag)
        self.assertEqual(self.read("renamed", PartNumber=2), parts[1])
        ranged = self.read("renamed", Range=f"bytes={5 * MIB - 2}-{5 * MIB + 1}")
        self.assertEqual(ranged, b"".join(parts)[5 * MIB - 2:5 * MIB + 2])

    def test_an_encrypted_object_opens_under_its_new_key(self):
        for key, body in [("short", b"secret"), ("long", pattern(2 * MIB))]:
            self.put(key, body, ServerSideEncryption="AES256")
            self.rename(key, f"new-{key}")
            got = self.get(f"new-{key}")
            self.assertEqual(got["ServerSideEncryption"], "AES256")
            self.assertEqual(got["Body"].read(), body)

    def test_keys_of_all_kinds_are_named_in_url_encoding(self):
        keys = ["a b", "a+b", "a%2Fb", "ünï/日本語", "/leading", "a//b", "trailing/", f"/{self.bucket}/k"]
        for key in keys:
            self.put(key, key.encode())
            self.rename(key, "there")
            self.assertEqual(self.read("there"), key.encode())
            self.rename("there", key)
            self.assertEqual(self.read(key), key.encode())
        self.s3.rename_object(
            Bucket=self.bucket, Key="x", RenameSource=f"/{self.bucket}/a//b")
        self.assertEqual(self.read("x"), b"a//b")

    def test_the_destination_is_replaced_unless_told_otherwise(self):
        self.put("a", b"a")
        self.put("b", b"b")
        self.refused(412, "PreconditionFailed", self.rename, source="a", key="b",
                     DestinationIfNoneMatch="*")
        wrong = self.head("a")["ETag"]
        self.refused(412, "PreconditionFailed", self.rename, source="a", key="b",
                     DestinationIfMatch=wrong)
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        self.refused(412, "PreconditionFailed", self.rename, source="a", key="b",
                     DestinationIfUnmodifiedSince=past)
        self.assertEqual((self.read("a"), self.read("b")), (b"a", b"b"))
        self.rename("a", "b", DestinationIfMatch=self.head("b")["ETag"])
        self.assertEqual(self.keys(), ["b"])
        self.assertEqual(self.read("b"), b"a")
        self.put("c", b"c")
        self.rename("c", "b", DestinationIfModifiedSince=past)
        self.assertEqual(self.read("b"), b"c")

    def test_conditions_on_the_source_are_held(self):
        self.put("a", b"a")
        etag = self.head("a")["ETag"]
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        for condition in [
                {"SourceIfMatch": '"other"'}, {"SourceIfNoneMatch": etag},
                {"SourceIfNoneMatch": "*"}, {"SourceIfUnmodifiedSince": past}]:
            self.refused(412, "PreconditionFailed", self.rename, source="a", key="b", **condition)
        self.assertEqual(self.keys(), ["a"])
        self.rename("a", "b", SourceIfMatch=etag, SourceIfModifiedSince=past)
        self.assertEqual(self.keys(), ["b"])

    def test_what_cannot_be_renamed_is_refused(self):
        self.put("b", b"b")
        self.refused(404, "NoSuchKey", self.rename, source="a", key="b")
        self.refused(400, "InvalidRequest", self.rename, source="b", key="b")
        self.refused(400, "KeyTooLongError", self.rename, source="k" * 1025, key="b")
        self.refused(400, "KeyTooLongError", self.rename, source="b", key="k" * 1025)
        self.refused(400, "InvalidArgument", self.rename, source="b", key="c",
                     ClientToken="x" * 65)
        self.assertEqual(self.read("b"), b"b")

    def test_a_request_that_comes_again_is_carried_out_once(self):
        token = uuid.uuid4().hex
        self.put("a", b"first")
        self.rename("a", "b", ClientToken=token)
        self.rename("a", "b", ClientToken=token)
        self.put("a", b"second")
        self.rename("a", "b", ClientToken=token)
        self.assertEqual((self.read("a"), self.read("b")), (b"second", b"first"))
        self.refused(400, "IdempotencyParameterMismatch", self.rename, source="a", key="c",
                     ClientToken=token)

    def test_one_of_many_renames_at_once_wins(self):
        self.put("a", b"body")

        def attempt(number):
            try:
                self.rename("a", f"to-{number}")
                return number
            except ClientError as error:
                self.assertEqual(error.response["Error"]["Code"], "NoSuchKey")
                return None
        with ThreadPoolExecutor(8) as pool:
            won = [n for n in pool.map(attempt, range(8)) if n is not None]
        self.assertEqual(self.keys(), [f"to-{n}" for n in won])
        self.assertEqual(len(won), 1)

    def test_a_bucket_with_versions_keeps_the_others_and_gets_a_marker(self):
        self.s3.put_bucket_versioning(
            Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        old = self.put("a", b"old")["VersionId"]
        new = self.put("a", b"new")["VersionId"]
        replaced = self.put("b", b"b")["VersionId"]
        renamed = self.rename("a", "b")["ResponseMetadata"]["HTTPHeaders"]["x-amz-version-id"]
        self.refused(404, "NoSuchKey", self.get, key="a")
        self.assertEqual(self.read("b"), b"new")
        self.assertEqual(self.read("b", VersionId=renamed), b"new")
        self.assertEqual(self.read("b", VersionId=replaced), b"b")
        self.assertEqual(self.read("a", VersionId=old), b"old")
        self.refused(404, "NoSuchVersion", self.get, key="a", VersionId=new)
        listed = self.s3.list_object_versions(Bucket=self.bucket)
        self.assertEqual([m["Key"] for m in listed["DeleteMarkers"]], ["a"])
        self.assertEqual(len(listed["Versions"]), 3)

    def test_what_is_locked_stays_where_it_is(self):
        bucket = "l" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        self.s3.put_object(Bucket=bucket, Key="a", Body=b"a", ObjectLockLegalHoldStatus="ON")
        rename = {"Bucket": bucket, "Key": "b", "RenameSource": "a"}
        self.refused(403, "AccessDenied", self.s3.rename_object, **rename)
        self.s3.put_object_legal_hold(Bucket=bucket, Key="a", LegalHold={"Status": "OFF"})
        self.s3.rename_object(**rename)
        got = self.s3.get_object(Bucket=bucket, Key="b")
        self.assertEqual(got["Body"].read(), b"a")


if __name__ == "__main__":
    unittest.main()

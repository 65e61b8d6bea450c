"""Objects: keys of all kinds, metadata, deletion, large files."""

import base64
import hashlib
import os
import tempfile
import unittest

from boto3.s3.transfer import TransferConfig
from server import MIB, BucketCase, pattern

KEYS = [
    "plain", "a b", "a+b", "a=b&c?d#e", "a//b", "/leading", "trailing/", "a/../b", "./c", "%2F",
    "ünï/日本語/🦀", "tab\tand\x01control", "quote\"'<>&", "back\\slash", "~!*()", "é"]


class Objects(BucketCase):
    def test_every_key_is_opaque(self):
        for key in KEYS:
            self.put(key, key.encode())
        for key in KEYS:
            self.assertEqual(self.read(key), key.encode(), key)
        listed = self.s3.list_objects_v2(Bucket=self.bucket)["Contents"]
        self.assertEqual([o["Key"] for o in listed], sorted(KEYS, key=str.encode))
        for key in KEYS:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        self.assertEqual(self.s3.list_objects_v2(Bucket=self.bucket)["KeyCount"], 0)

    def test_the_longest_key_is_1024_bytes(self):
        self.put("k" * 1024, b"x")
        self.assertEqual(self.read("k" * 1024), b"x")
        self.refused(400, "KeyTooLongError", self.put, key="k" * 1025)

    def test_the_etag_is_the_md5_of_the_bytes(self):
        body = pattern(3 * MIB + 1)
        etag = self.put("k", body)["ETag"]
        self.assertEqual(etag, f'"{hashlib.md5(body).hexdigest()}"')
        self.assertEqual(self.head("k")["ETag"], etag)

    def test_metadata_and_headers_come_back(self):
        headers = {
            "ContentType": "text/x-test", "CacheControl": "no-store",
            "ContentDisposition": 'attachment; filename="x"', "ContentEncoding": "gzip",
            "ContentLanguage": "de"}
        self.put("k", b"x", Metadata={"colour": "blue", "with-dash": "a b"}, **headers)
        head = self.head("k")
        self.assertEqual(head["Metadata"], {"colour": "blue", "with-dash": "a b"})
        for name, value in headers.items():
            self.assertEqual(head[name], value)

    def test_metadata_beyond_ascii_comes_back(self):
        # boto3 refuses to send such metadata; other clients send its UTF-8 bytes.
        def raw(request, **_):
            request.headers.add_header("x-amz-meta-name", "h\u00e9llo".encode().decode("latin-1"))
        self.s3.meta.events.register("before-sign.s3.PutObject", raw)
        self.put("k", b"x")
        self.assertIn("name", self.head("k")["Metadata"])

    def test_too_much_metadata_is_refused(self):
        self.refused(400, "MetadataTooLarge", self.put, key="k", Metadata={"a": "x" * 2100})
        self.assertFalse(self.exists("k"))

    def test_response_headers_can_be_overridden(self):
        self.put("k", b"x")
        got = self.get("k", ResponseContentType="text/y", ResponseContentDisposition="inline")
        self.assertEqual((got["ContentType"], got["ContentDisposition"]), ("text/y", "inline"))

    def test_an_empty_object_is_an_object(self):
        self.put("k")
        self.assertEqual(self.read("k"), b"")
        self.assertEqual(self.head("k")["ContentLength"], 0)

    def test_overwriting_shows_the_new_bytes_at_once(self):
        for version in range(5):
            self.put("k", pattern(1000 + version, version))
            self.assertEqual(self.read("k"), pattern(1000 + version, version))

    def test_delete_objects_answers_for_each_key(self):
        # No XML 1.0 parser takes an answer with control characters.
        keys = [key for key in KEYS if "\x01" not in key]
        for key in keys:
            self.put(key)
        gone = self.s3.delete_objects(
            Bucket=self.bucket, Delete={"Objects": [{"Key": k} for k in [*keys, "missing"]]})
        self.assertEqual({d["Key"] for d in gone["Deleted"]}, {*keys, "missing"})
        self.assertNotIn("Errors", gone)
        self.put("quiet")
        quiet = self.s3.delete_objects(
            Bucket=self.bucket, Delete={"Objects": [{"Key": "quiet"}], "Quiet": True})
        self.assertNotIn("Deleted", quiet)
        self.assertEqual(self.s3.list_objects_v2(Bucket=self.bucket)["KeyCount"], 0)

    def test_delete_objects_takes_a_thousand_keys_and_no_more(self):
        many = [{"Key": str(n)} for n in range(1001)]
        delete = self.s3.delete_objects
        deleted = delete(Bucket=self.bucket, Delete={"Objects": many[:1000]})["Deleted"]
        self.assertEqual(len(deleted), 1000)
        self.refused(400, "MalformedXML", delete, Bucket=self.bucket, Delete={"Objects": many})

    def test_content_md5_is_compared(self):
        good = base64.b64encode(hashlib.md5(b"x").digest()).decode()
        self.put("k", b"x", ContentMD5=good)
        self.refused(400, "BadDigest", self.put, key="k", body=b"y", ContentMD5=good)
        self.assertEqual(self.read("k"), b"x")

    def test_files_go_up_and_down_in_parts(self):
        config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
        body = pattern(20 * MIB + 12345)
        with tempfile.TemporaryDirectory() as home:
            up, down = os.path.join(home, "up"), os.path.join(home, "down")
            with open(up, "wb") as file:
                file.write(body)
            self.s3.upload_file(up, self.bucket, "k", Config=config)
            self.assertTrue(self.head("k")["ETag"].endswith('-5"'))
            self.s3.download_file(self.bucket, "k", down, Config=config)
            with open(down, "rb") as file:
                self.assertEqual(file.read(), body)


class Buckets(BucketCase):
    def test_a_bucket_is_listed_located_and_removed(self):
        names = [b["Name"] for b in self.s3.list_buckets()["Buckets"]]
        self.assertIn(self.bucket, names)
        location = self.s3.get_bucket_location(Bucket=self.bucket)
        self.assertIsNone(location["LocationConstraint"])
        head = self.s3.head_bucket(Bucket=self.bucket)
        self.assertEqual(head["BucketRegion"], "us-east-1")
        self.put("k")
        self.refused(409, "BucketNotEmpty", self.s3.delete_bucket, Bucket=self.bucket)
        self.s3.delete_object(Bucket=self.bucket, Key="k")
        self.s3.delete_bucket(Bucket=self.bucket)
        self.refused(404, "404", self.s3.head_bucket, Bucket=self.bucket)
        self.refused(404, "NoSuchBucket", self.s3.list_objects_v2, Bucket=self.bucket)
        self.refused(404, "NoSuchBucket", self.s3.delete_bucket, Bucket=self.bucket)


if __name__ == "__main__":
    unittest.main()

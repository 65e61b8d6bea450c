"""PutObject with a write offset: bytes put behind an object, on any bucket without versions."""

import base64
import hashlib
import unittest
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError
from server import MIB, BucketCase, pattern


class Appending(BucketCase):
    def append(self, key, body, offset=None, **more):
        if offset is None:
            offset = self.head(key)["ContentLength"] if self.exists(key) else 0
        return self.put(key, body, WriteOffsetBytes=offset, **more)

    def test_an_object_grows_by_what_is_appended(self):
        for first in [0, 100, 3 * MIB]:
            key, whole = f"k{first}", pattern(first)
            self.put(key, whole, ContentType="text/x-log", Metadata={"m": "1"})
            etags = {self.head(key)["ETag"]}
            for number, length in enumerate([1, 5000, 2 * MIB + 3]):
                piece = pattern(length, number)
                answer = self.append(key, piece, len(whole))
                whole += piece
                self.assertEqual(answer["Size"], len(whole))
                head = self.head(key)
                self.assertEqual(head["ContentLength"], len(whole))
                self.assertEqual(head["ETag"], answer["ETag"])
                self.assertEqual(self.read(key), whole)
                etags.add(head["ETag"])
            self.assertEqual(len(etags), 4)
            self.assertEqual((head["ContentType"], head["Metadata"]), ("text/x-log", {"m": "1"}))
            for start, end in [(0, 0), (first, first), (max(first - 5, 0), first + 10),
                               (first + 4000, first + 6000), (len(whole) - 1, len(whole) + 9)]:
                ranged = self.read(key, Range=f"bytes={start}-{end}")
                self.assertEqual(ranged, whole[start:end + 1])
            listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=key)["Contents"]
            self.assertEqual([o["Size"] for o in listed], [len(whole)])

    def test_an_offset_of_0_begins_an_object(self):
        answer = self.append("k", b"first", 0)
        self.assertEqual(answer["Size"], 5)
        self.refused(400, "InvalidWriteOffset", self.append, key="k", body=b"again", offset=0)
        self.append("k", b" second")
        self.assertEqual(self.read("k"), b"first second")

    def test_another_offset_than_the_size_is_refused(self):
        self.refused(400, "InvalidWriteOffset", self.append, key="k", body=b"x", offset=1)
        self.assertFalse(self.exists("k"))
        self.put("k", b"12345")
        for offset in [0, 4, 6, 10**12]:
            self.refused(400, "InvalidWriteOffset", self.append, key="k", body=b"x", offset=offset)
        self.refused(400, "InvalidArgument", self.append, key="k", body=b"x", offset=-1)
        self.refused(400, "InvalidRequest", self.append, key="k", body=b"", offset=5)
        self.refused(400, "InvalidRequest", self.append, key="k", body=b"x", offset=5,
                     Metadata={"a": "b"})
        self.assertEqual(self.read("k"), b"12345")

    def test_conditions_are_held(self):
        etag = self.put("k", b"1")["ETag"]
        self.refused(412, "PreconditionFailed", self.append, key="k", body=b"2", offset=1,
                     IfMatch='"other"')
        self.refused(412, "PreconditionFailed", self.append, key="k", body=b"2", offset=1,
                     IfNoneMatch="*")
        self.append("k", b"2", 1, IfMatch=etag)
        self.assertEqual(self.read("k"), b"12")

    def test_the_checksum_is_that_of_all_bytes(self):
        def crc32(body):
            return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        self.put("k", b"hello", ChecksumAlgorithm="CRC32")
        answer = self.append("k", b" world", 5, ChecksumAlgorithm="CRC32")
        self.assertEqual(answer["ChecksumCRC32"], crc32(b"hello world"))
        got = self.get("k", ChecksumMode="ENABLED")
        self.assertEqual(got["ChecksumCRC32"], crc32(b"hello world"))
        self.assertEqual(got["Body"].read(), b"hello world")
        self.refused(400, "InvalidRequest", self.append, key="k", body=b"x", offset=11,
                     ChecksumAlgorithm="SHA256")
        self.put("sha", b"hello", ChecksumAlgorithm="SHA256")
        self.append("sha", b"!", 5, ChecksumAlgorithm="SHA256")
        head = self.head("sha", ChecksumMode="ENABLED")
        self.assertNotIn("ChecksumSHA256", head)

    def test_a_damaged_append_changes_nothing(self):
        self.put("k", b"hello")
        wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        self.refused(400, "BadDigest", self.append, key="k", body=b"x" * 10000, offset=5,
                     ContentMD5=wrong)
        self.assertEqual(self.read("k"), b"hello")

    def test_an_object_of_parts_can_be_appended_to_and_all_of_it_copied(self):
        parts = [pattern(5 * MIB), pattern(1000, 1)]
        upload, sent = self.upload_parts("k", parts)
        self.complete("k", upload, sent)
        self.append("k", b"tail")
        whole = b"".join(parts) + b"tail"
        self.assertEqual(self.read("k"), whole)
        third = self.get("k", PartNumber=3)
        self.assertEqual((third["Body"].read(), third["PartsCount"]), (b"tail", 3))
        self.s3.copy_object(Bucket=self.bucket, Key="copy", CopySource=f"{self.bucket}/k")
        self.assertEqual(self.read("copy"), whole)
        self.assertEqual(self.head("copy")["ETag"], f'"{hashlib.md5(whole).hexdigest()}"')
        self.append("copy", b"!")
        self.assertEqual(self.read("copy"), whole + b"!")
        self.s3.delete_object(Bucket=self.bucket, Key="k")
        self.assertFalse(self.exists("k"))

    def test_one_of_many_appends_at_an_offset_wins(self):
        for key, first in [("small", b""), ("inline", b"12345"), ("chunks", pattern(2 * MIB))]:
            self.put(key, first)

            def attempt(number):
                body = bytes([number]) * 2000
                try:
                    self.append(key, body, len(first))
                    return body
                except ClientError as error:
                    self.assertEqual(error.response["Error"]["Code"], "InvalidWriteOffset")
                    return None
            with ThreadPoolExecutor(8) as pool:
                won = [body for body in pool.map(attempt, range(8)) if body is not None]
            self.assertEqual(len(won), 1)
            self.assertEqual(self.read(key), first + won[0])

    def test_many_writers_together_lose_nothing(self):
        self.put("log", b"")

        def write(number):
            for line in range(10):
                record = b"%d:%d\n" % (number, line)
                while True:
                    try:
                        self.append("log", record)
                        break
                    except ClientError as error:
                        self.assertEqual(error.response["Error"]["Code"], "InvalidWriteOffset")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        lines = self.read("log").decode().splitlines()
        expected = {f"{number}:{line}" for number in range(4) for line in range(10)}
        self.assertEqual((len(lines), set(lines)), (40, expected))

    def test_what_is_not_built_is_refused(self):
        self.put("k", b"secret", ServerSideEncryption="AES256")
        self.refused(501, "NotImplemented", self.append, key="k", body=b"x", offset=6)
        bucket = "v" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=bucket)
        self.s3.put_object(Bucket=bucket, Key="k", Body=b"1")
        self.s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.refused(501, "NotImplemented", self.s3.put_object, Bucket=bucket, Key="k", Body=b"2",
                     WriteOffsetBytes=1)
        self.assertEqual(self.s3.get_object(Bucket=bucket, Key="k")["Body"].read(), b"1")


if __name__ == "__main__":
    unittest.main()

"""Checksums in headers and trailers, of objects and of uploads."""

import base64
import hashlib
import io
import unittest

from server import MIB, BucketCase, client, pattern

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


def built_in(algorithm):
    """Whether this boto3 can compute it; CRC32C and CRC64NVME need the optional awscrt."""
    try:
        import awscrt  # noqa: F401
        return True
    except ImportError:
        return algorithm not in ("CRC32C", "CRC64NVME")


# Of the nine bytes that checks of CRCs are published with.
OF_123456789 = {
    "CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=",
    "SHA1": base64.b64encode(hashlib.sha1(b"123456789").digest()).decode(),
    "SHA256": base64.b64encode(hashlib.sha256(b"123456789").digest()).decode()}


class Objects(BucketCase):
    def test_a_checksum_in_a_header_is_compared_and_kept(self):
        for algorithm, value in OF_123456789.items():
            name = f"Checksum{algorithm}"
            put = self.put(algorithm, b"123456789", **{name: value})
            self.assertEqual((put[name], put["ChecksumType"]), (value, "FULL_OBJECT"))
            head = self.head(algorithm, ChecksumMode="ENABLED")
            self.assertEqual(head[name], value)
            self.assertNotIn(name, self.head(algorithm))
            self.refused(400, "BadDigest", self.put, key=algorithm, body=b"other",
                         **{name: value})
            self.assertEqual(self.read(algorithm), b"123456789")

    def test_a_computed_checksum_is_kept(self):
        for algorithm in filter(built_in, ALGORITHMS):
            self.put("k", b"123456789", ChecksumAlgorithm=algorithm)
            head = self.head("k", ChecksumMode="ENABLED")
            self.assertEqual(head[f"Checksum{algorithm}"], OF_123456789[algorithm])

    def test_an_object_without_one_gets_one(self):
        plain = client(request_checksum_calculation="when_required")
        plain.put_object(Bucket=self.bucket, Key="k", Body=b"123456789")
        head = self.head("k", ChecksumMode="ENABLED")
        self.assertEqual(head["ChecksumCRC64NVME"], OF_123456789["CRC64NVME"])

    def test_a_range_carries_no_checksum_of_the_whole(self):
        self.put("k", b"123456789", ChecksumAlgorithm="SHA256")
        got = self.get("k", Range="bytes=0-3", ChecksumMode="ENABLED")
        self.assertEqual(got["Body"].read(), b"1234")

    def test_a_stream_of_unknown_hash_is_stored_decoded(self):
        body = pattern(3 * MIB)
        self.put("k", io.BytesIO(body))
        self.assertEqual(self.read("k"), body)
        self.assertNotIn("ContentEncoding", self.head("k"))


class Uploads(BucketCase):
    parts = [pattern(5 * MIB, 1), pattern(5 * MIB, 2), pattern(11, 3)]

    def stored(self, algorithm, **more):
        upload = self.upload_parts("k", self.parts, ChecksumAlgorithm=algorithm, **more)
        completed = self.complete("k", *upload, **more)
        head = self.head("k", ChecksumMode="ENABLED")
        name = f"Checksum{algorithm}"
        self.assertEqual(completed[name], head[name])
        self.assertEqual(completed["ChecksumType"], head["ChecksumType"])
        self.assertEqual(self.read("k", ChecksumMode="ENABLED"), b"".join(self.parts))
        return head[name], head["ChecksumType"]

    def test_hashes_are_composite(self):
        for algorithm, new in [("SHA1", hashlib.sha1), ("SHA256", hashlib.sha256)]:
            digests = b"".join(new(part).digest() for part in self.parts)
            expected = base64.b64encode(new(digests).digest()).decode() + "-3"
            self.assertEqual(self.stored(algorithm), (expected, "COMPOSITE"))

    def test_crcs_are_composite_unless_asked_for_whole(self):
        for algorithm in filter(built_in, ["CRC32", "CRC32C"]):
            value, kind = self.stored(algorithm)
            self.assertTrue(value.endswith("-3"), value)
            self.assertEqual(kind, "COMPOSITE")
            value, kind = self.stored(algorithm, ChecksumType="FULL_OBJECT")
            self.assertEqual(kind, "FULL_OBJECT")
            self.put("whole", b"".join(self.parts), ChecksumAlgorithm=algorithm)
            whole = self.head("whole", ChecksumMode="ENABLED")
            self.assertEqual(value, whole[f"Checksum{algorithm}"])

    def test_crc64_is_always_of_the_whole(self):
        created = self.s3.create_multipart_upload(
            Bucket=self.bucket, Key="k", ChecksumAlgorithm="CRC64NVME")
        self.assertEqual(created["ChecksumType"], "FULL_OBJECT")
        if built_in("CRC64NVME"):
            self.assertEqual(self.stored("CRC64NVME")[1], "FULL_OBJECT")
        self.refused(400, "InvalidRequest", self.s3.create_multipart_upload, Bucket=self.bucket,
                     Key="k", ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")
        self.refused(400, "InvalidRequest", self.s3.create_multipart_upload, Bucket=self.bucket,
                     Key="k", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")

    def test_a_wrong_checksum_at_completion_is_refused(self):
        upload_id, parts = self.upload_parts("k", [b"123456789"], ChecksumAlgorithm="CRC32")
        parts[0]["ChecksumCRC32"] = "AAAAAA=="
        self.refused(400, "InvalidPart", self.complete, key="k", upload_id=upload_id, parts=parts)
        self.assertFalse(self.exists("k"))

    def test_attributes_show_the_checksum(self):
        self.put("k", b"123456789", ChecksumAlgorithm="SHA256")
        listed = self.s3.list_objects_v2(Bucket=self.bucket)["Contents"][0]
        self.assertEqual(listed["ChecksumAlgorithm"], ["SHA256"])


if __name__ == "__main__":
    unittest.main()

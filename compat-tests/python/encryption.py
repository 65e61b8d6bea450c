"""Server-side encryption: whose key opens what, through every way that bytes come in and go out.
The server must take clients' keys without TLS and know the keys `one` and `two`."""

import base64
import hashlib
import itertools
import unittest

from server import MIB, BucketCase, pattern


def customer(seed, prefix=""):
    """A client's key as boto3 takes it."""
    key = hashlib.sha256(seed.encode()).digest()
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": base64.b64encode(key).decode(),
            f"{prefix}SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode()}


# How to write, how to read again, how to name as source of a copy.
MODES = {
    "plain": ({}, {}, {}),
    "s3": ({"ServerSideEncryption": "AES256"}, {}, {}),
    "kms": ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "one"}, {}, {}),
    "customer": (customer("a"), customer("a"), customer("a", "CopySource")),
}
SIZES = [0, 1, 8192, 65535, 65536, 65537, 3 * MIB + 7]


class Bodies(BucketCase):
    def test_every_size_and_range_reads_back_in_every_mode(self):
        for (mode, (write, read, _)), size in itertools.product(MODES.items(), SIZES):
            body = pattern(size, size)
            self.put(mode, body, **write)
            self.assertEqual(self.read(mode, **read), body, (mode, size))
            self.assertEqual(self.head(mode, **read)["ContentLength"], size)
            for start, end in [(0, 0), (1, 65536), (65535, 65536), (65536, 131071), (size - 3, size - 1)]:
                if 0 <= start <= end < size:
                    got = self.read(mode, Range=f"bytes={start}-{end}", **read)
                    self.assertEqual(got, body[start:end + 1], (mode, size, start, end))

    def test_parts_read_back_whole_by_number_and_across(self):
        parts = [pattern(5 * MIB + 3, 1), pattern(5 * MIB, 2), pattern(9, 3)]
        whole = b"".join(parts)
        for mode, (write, read, _) in MODES.items():
            upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key=mode, **write)
            sent = []
            for number, body in enumerate([parts[0], parts[0], *parts[1:]]):
                number = max(number, 1)  # the first part is sent twice
                part = self.s3.upload_part(Bucket=self.bucket, Key=mode, PartNumber=number,
                                           UploadId=upload["UploadId"], Body=body, **read)
                sent = [s for s in sent if s["PartNumber"] != number]
                sent.append({"PartNumber": number, "ETag": part["ETag"]})
            self.complete(mode, upload["UploadId"], sent, **read)
            self.assertEqual(self.read(mode, **read), whole, mode)
            for number, body in enumerate(parts, 1):
                self.assertEqual(self.read(mode, PartNumber=number, **read), body, mode)
            across = self.read(mode, Range=f"bytes={5 * MIB - 2}-{10 * MIB + 5}", **read)
            self.assertEqual(across, whole[5 * MIB - 2:10 * MIB + 6], mode)

    def test_copies_go_from_every_mode_to_every_mode(self):
        body = pattern(5 * MIB + 11, 7)
        for (source, (write, _, copy)), (target, (rewrite, read, _)) in itertools.product(
                MODES.items(), MODES.items()):
            self.put("source", body, **write)
            place = {"Bucket": self.bucket, "Key": "source"}
            self.s3.copy_object(Bucket=self.bucket, Key="copy", CopySource=place, **copy, **rewrite)
            self.assertEqual(self.read("copy", **read), body, (source, target))
            upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key="parts", **rewrite)
            part = self.s3.upload_part_copy(
                Bucket=self.bucket, Key="parts", PartNumber=1, UploadId=upload["UploadId"],
                CopySource=place, CopySourceRange="bytes=65530-5242880", **copy, **read)
            etag = part["CopyPartResult"]["ETag"]
            self.complete("parts", upload["UploadId"], [{"PartNumber": 1, "ETag": etag}], **read)
            self.assertEqual(self.read("parts", **read), body[65530:5242881], (source, target))

    def test_an_object_changes_its_key_by_a_copy_onto_itself(self):
        place = {"Bucket": self.bucket, "Key": "k"}
        self.put("k", b"secret", **customer("a"))
        self.s3.copy_object(Bucket=self.bucket, Key="k", CopySource=place,
                            **customer("a", "CopySource"), **customer("b"))
        self.assertEqual(self.read("k", **customer("b")), b"secret")
        self.refused(400, "InvalidRequest", self.get, key="k", **customer("a"))


class Rules(BucketCase):
    def test_a_clients_key_is_needed_for_everything_that_touches_bytes(self):
        self.put("k", b"secret", **customer("a"))
        place = {"Bucket": self.bucket, "Key": "k"}
        for wrong in [{}, customer("b")]:
            self.refused(400, "InvalidRequest", self.get, key="k", **wrong)
            self.refused(400, "400", self.head, key="k", **wrong)
            self.refused(400, "InvalidRequest", self.s3.get_object_attributes, **place,
                         ObjectAttributes=["ETag"], **wrong)
        for wrong in [{}, customer("b", "CopySource")]:
            self.refused(400, "InvalidRequest", self.s3.copy_object, Bucket=self.bucket, Key="c",
                         CopySource=place, **wrong)
        self.put("plain", b"x")
        self.refused(400, "InvalidRequest", self.get, key="plain", **customer("a"))

    def test_an_upload_takes_parts_under_its_own_key_only(self):
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key="k", **customer("a"))
        place = {"Bucket": self.bucket, "Key": "k", "UploadId": upload["UploadId"]}
        for wrong in [{}, customer("b")]:
            self.refused(400, "InvalidRequest", self.s3.upload_part, **place, PartNumber=1,
                         Body=b"x", **wrong)

    def test_answers_tell_the_method_and_never_more(self):
        written = self.put("k", b"x", **customer("a"))
        self.assertEqual(written["SSECustomerAlgorithm"], "AES256")
        self.assertNotIn("ServerSideEncryption", written)
        self.put("k", b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="two")
        head = self.head("k")
        self.assertEqual((head["ServerSideEncryption"], head["SSEKMSKeyId"]), ("aws:kms", "two"))

    def test_etags_tell_the_digest_only_where_the_store_holds_the_key(self):
        digest = f'"{hashlib.md5(b"x").hexdigest()}"'
        self.assertEqual(self.put("k", b"x", ServerSideEncryption="AES256")["ETag"], digest)
        for write, _, _ in [MODES["kms"], MODES["customer"]]:
            self.assertNotEqual(self.put("k", b"x", **write)["ETag"], digest)

    def test_unknown_keys_and_missing_ones_are_refused(self):
        kms = {"ServerSideEncryption": "aws:kms"}
        self.refused(400, "KMS.NotFoundException", self.put, key="k", **kms, SSEKMSKeyId="three")
        self.refused(400, "InvalidArgument", self.put, key="k", **kms)
        self.refused(400, "InvalidArgument", self.put, key="k", ServerSideEncryption="AES128")
        self.assertFalse(self.exists("k"))

    def test_a_buckets_default_seals_what_says_nothing(self):
        rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "two"}
        self.s3.put_bucket_encryption(Bucket=self.bucket, ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]})
        self.assertEqual(self.put("k", b"x")["SSEKMSKeyId"], "two")
        self.assertEqual(self.put("s", b"x", ServerSideEncryption="AES256")["ServerSideEncryption"], "AES256")
        self.assertEqual(self.read("k"), b"x")
        self.s3.delete_bucket_encryption(Bucket=self.bucket)
        self.assertNotIn("ServerSideEncryption", self.put("k", b"x"))

    def test_a_kms_context_is_bound_and_checked(self):
        context = base64.b64encode(b'{"project":"x"}').decode()
        kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "one"}
        self.put("k", b"x", **kms, SSEKMSEncryptionContext=context)
        self.assertEqual(self.read("k"), b"x")
        self.refused(400, "InvalidArgument", self.put, key="k", **kms, SSEKMSEncryptionContext="%%")


if __name__ == "__main__":
    unittest.main()

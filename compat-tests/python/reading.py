"""Reading: ranges, parts, conditions."""

import datetime
import unittest

from server import MIB, BucketCase, pattern

HOUR = datetime.timedelta(hours=1)


class Ranges(BucketCase):
    def setUp(self):
        super().setUp()
        self.body = pattern(3 * MIB + 7)
        self.put("k", self.body)

    def test_a_range_is_what_stands_there(self):
        total = len(self.body)
        for spec, start, end in [
                ("0-0", 0, 1), ("5-9", 5, 10), ("-10", total - 10, total),
                (f"-{total * 2}", 0, total), (f"{total - 1}-", total - 1, total),
                (f"100-{total * 2}", 100, total), ("1048575-1048576", 1048575, 1048577),
                ("1000000-3000000", 1000000, 3000001)]:
            got = self.get("k", Range=f"bytes={spec}")
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], 206, spec)
            self.assertEqual(got["ContentRange"], f"bytes {start}-{end - 1}/{total}")
            self.assertEqual(got["ContentLength"], end - start)
            self.assertEqual(got["Body"].read(), self.body[start:end], spec)

    def test_a_malformed_or_multiple_range_means_the_whole(self):
        for spec in ["bytes=", "bytes=a-b", "bytes=9-5", "lines=0-1", "bytes=0-0,2-2", "0-1"]:
            got = self.get("k", Range=spec)
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], 200, spec)
            self.assertEqual(len(got["Body"].read()), len(self.body))

    def test_a_range_beyond_the_end_is_refused_with_the_size(self):
        total = len(self.body)
        for spec in [f"bytes={total}-", f"bytes={total}-{total + 5}", "bytes=-0"]:
            refusal = self.refused(416, "InvalidRange", self.get, key="k", Range=spec)
            headers = refusal["ResponseMetadata"]["HTTPHeaders"]
            self.assertEqual(headers["content-range"], f"bytes */{total}")

    def test_an_empty_object_has_no_range(self):
        self.put("empty")
        self.refused(416, "InvalidRange", self.get, key="empty", Range="bytes=0-0")

    def test_head_answers_ranges_too(self):
        head = self.head("k", Range="bytes=0-9")
        self.assertEqual((head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]),
                         (10, 206))


class Parts(BucketCase):
    def test_a_part_is_read_by_its_number(self):
        parts = [pattern(5 * MIB, 1), pattern(5 * MIB + 3, 2), pattern(9, 3)]
        self.complete("k", *self.upload_parts("k", parts))
        self.assertEqual(self.read("k"), b"".join(parts))
        for number, body in enumerate(parts, 1):
            got = self.get("k", PartNumber=number)
            self.assertEqual(got["PartsCount"], 3)
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], 206)
            self.assertEqual(got["Body"].read(), body)
            self.assertEqual(self.head("k", PartNumber=number)["ContentLength"], len(body))
        across = self.read("k", Range=f"bytes={5 * MIB - 2}-{10 * MIB + 5}")
        self.assertEqual(across, b"".join(parts)[5 * MIB - 2:10 * MIB + 6])
        self.refused(400, "InvalidPart", self.get, key="k", PartNumber=4)

    def test_a_plain_object_is_its_own_first_part(self):
        self.put("k", b"whole")
        self.assertEqual(self.read("k", PartNumber=1), b"whole")
        self.refused(400, "InvalidPart", self.get, key="k", PartNumber=2)

    def test_a_part_and_a_range_exclude_each_other(self):
        self.put("k", b"whole")
        self.refused(400, "InvalidRequest", self.get, key="k", PartNumber=1, Range="bytes=0-1")


class Conditions(BucketCase):
    def setUp(self):
        super().setUp()
        self.etag = self.put("k", b"x")["ETag"]
        self.modified = self.head("k")["LastModified"]

    def test_reads_keep_their_conditions(self):
        modified = self.modified
        self.assertEqual(self.read("k", IfMatch=self.etag), b"x")
        self.assertEqual(self.read("k", IfMatch="*"), b"x")
        self.assertEqual(self.read("k", IfNoneMatch='"other"'), b"x")
        self.assertEqual(self.read("k", IfModifiedSince=modified - HOUR), b"x")
        self.assertEqual(self.read("k", IfUnmodifiedSince=modified + HOUR), b"x")
        refused = lambda **c: self.refused(412, "PreconditionFailed", self.get, key="k", **c)
        refused(IfMatch='"other"')
        refused(IfUnmodifiedSince=modified - HOUR)
        unmodified = lambda **c: self.refused(304, "304", self.get, key="k", **c)
        unmodified(IfNoneMatch=self.etag)
        unmodified(IfModifiedSince=modified)
        # If-Match decides over If-Unmodified-Since, If-None-Match over If-Modified-Since.
        self.assertEqual(self.read("k", IfMatch=self.etag, IfUnmodifiedSince=modified - HOUR), b"x")
        unmodified(IfNoneMatch=self.etag, IfModifiedSince=modified - HOUR)

    def test_a_condition_may_list_several_etags(self):
        known, others = f'"other", {self.etag}', '"other", "another"'
        self.assertEqual(self.read("k", IfMatch=known), b"x")
        self.refused(412, "PreconditionFailed", self.get, key="k", IfMatch=others)
        self.assertEqual(self.read("k", IfNoneMatch=others), b"x")
        self.refused(304, "304", self.get, key="k", IfNoneMatch=known)
        self.refused(412, "PreconditionFailed", self.put, key="k", body=b"y", IfMatch=others)
        self.put("k", b"y", IfMatch=known)
        self.assertEqual(self.read("k"), b"y")

    def test_a_put_over_nothing_succeeds_once(self):
        self.put("new", b"1", IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", self.put, key="new", body=b"2", IfNoneMatch="*")
        self.assertEqual(self.read("new"), b"1")

    def test_a_put_over_a_known_object_needs_its_etag(self):
        self.refused(412, "PreconditionFailed", self.put, key="k", body=b"y", IfMatch='"other"')
        self.refused(404, "NoSuchKey", self.put, key="missing", body=b"y", IfMatch=self.etag)
        self.put("k", b"y", IfMatch=self.etag)
        self.assertEqual(self.read("k"), b"y")

    def test_a_completion_keeps_its_condition(self):
        upload_id, parts = self.upload_parts("k", [b"z"])
        self.refused(412, "PreconditionFailed", self.complete, key="k", upload_id=upload_id,
                     parts=parts, IfNoneMatch="*")
        self.assertEqual(self.read("k"), b"x")
        self.complete("k", upload_id, parts, IfMatch=self.etag)
        self.assertEqual(self.read("k"), b"z")

    def test_a_delete_keeps_its_condition(self):
        delete = self.s3.delete_object
        self.refused(412, "PreconditionFailed", delete, Bucket=self.bucket, Key="k",
                     IfMatch='"other"')
        self.assertTrue(self.exists("k"))
        delete(Bucket=self.bucket, Key="k", IfMatch=self.etag)
        self.assertFalse(self.exists("k"))

    def test_a_delete_keeps_its_condition_on_the_size_of_what_is_there(self):
        delete = self.s3.delete_object
        self.refused(412, "PreconditionFailed", delete, Bucket=self.bucket, Key="k",
                     IfMatchSize=2)
        self.assertTrue(self.exists("k"))
        delete(Bucket=self.bucket, Key="k", IfMatchSize=1)
        self.assertFalse(self.exists("k"))
        delete(Bucket=self.bucket, Key="k", IfMatchSize=2)


if __name__ == "__main__":
    unittest.main()

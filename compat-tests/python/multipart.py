"""Uploads in parts, and copies."""

import hashlib
import os
import unittest

from server import MIB, BucketCase, pattern


class Uploads(BucketCase):
    def test_the_etag_is_of_the_parts_etags(self):
        parts = [pattern(5 * MIB, 1), pattern(100, 2)]
        etag = self.complete("k", *self.upload_parts("k", parts))["ETag"]
        digests = b"".join(hashlib.md5(part).digest() for part in parts)
        self.assertEqual(etag, f'"{hashlib.md5(digests).hexdigest()}-2"')
        self.assertEqual(self.head("k")["ETag"], etag)
        self.assertEqual(self.head("k")["ContentLength"], 5 * MIB + 100)

    def test_the_answer_has_the_url(self):
        completed = self.complete("a/b c", *self.upload_parts("a/b c", [b"x"]))
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}/a%2Fb%20c"
        self.assertEqual(completed["Location"], url)

    def test_metadata_is_given_at_the_start(self):
        upload = self.upload_parts("k", [b"x"], Metadata={"a": "b"}, ContentType="text/x")
        self.complete("k", *upload)
        head = self.head("k")
        self.assertEqual((head["Metadata"], head["ContentType"]), ({"a": "b"}, "text/x"))

    def test_parts_may_be_sent_again_and_left_out(self):
        upload_id, parts = self.upload_parts("k", [pattern(5 * MIB, n) for n in range(3)])
        again = self.s3.upload_part(Bucket=self.bucket, Key="k", UploadId=upload_id, PartNumber=1,
                                    Body=pattern(6 * MIB, 9))
        chosen = [{"PartNumber": 1, "ETag": again["ETag"]}, parts[2]]
        self.complete("k", upload_id, chosen)
        self.assertEqual(self.read("k"), pattern(6 * MIB, 9) + pattern(5 * MIB, 2))

    def test_completing_again_gives_the_same_answer(self):
        upload = self.upload_parts("k", [b"x"])
        first = self.complete("k", *upload)
        self.assertEqual(self.complete("k", *upload)["ETag"], first["ETag"])

    def test_parts_come_in_pages(self):
        upload_id, parts = self.upload_parts("k", [b"%d" % n for n in range(7)])
        pages = self.s3.get_paginator("list_parts").paginate(
            Bucket=self.bucket, Key="k", UploadId=upload_id, PaginationConfig={"PageSize": 3})
        listed = [part for page in pages for part in page["Parts"]]
        self.assertEqual([p["ETag"] for p in listed], [p["ETag"] for p in parts])
        self.assertEqual([p["PartNumber"] for p in listed], list(range(1, 8)))

    def test_the_parts_of_an_object_come_in_pages_with_markers(self):
        self.complete("k", *self.upload_parts("k", [pattern(5 * MIB), b"x"]))
        shown = lambda **page: self.s3.get_object_attributes(
            Bucket=self.bucket, Key="k", ObjectAttributes=["ObjectParts"], **page)["ObjectParts"]
        first = shown(MaxParts=1)
        self.assertEqual((first["NextPartNumberMarker"], first["IsTruncated"]), (1, True))
        last = shown(PartNumberMarker=1)
        self.assertEqual((last["NextPartNumberMarker"], last["IsTruncated"]), (2, False))

    def test_an_abort_leaves_nothing(self):
        upload_id, _ = self.upload_parts("k", [b"x"])
        arguments = {"Bucket": self.bucket, "Key": "k", "UploadId": upload_id}
        self.s3.abort_multipart_upload(**arguments)
        self.refused(404, "NoSuchUpload", self.s3.list_parts, **arguments)
        self.refused(404, "NoSuchUpload", self.s3.upload_part, PartNumber=1, **arguments)
        self.refused(404, "NoSuchUpload", self.s3.abort_multipart_upload, **arguments)
        self.assertNotIn("Uploads", self.s3.list_multipart_uploads(Bucket=self.bucket))
        self.assertFalse(self.exists("k"))

    def test_a_bad_completion_changes_nothing(self):
        upload_id, parts = self.upload_parts("k", [b"small", b"small too"])
        refused = lambda code, chosen: self.refused(
            400, code, self.complete, key="k", upload_id=upload_id, parts=chosen)
        refused("EntityTooSmall", parts)
        refused("InvalidPartOrder", parts[::-1])
        refused("InvalidPart", [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}])
        refused("InvalidPart", [{"PartNumber": 3, "ETag": parts[0]["ETag"]}])
        refused("MalformedXML", [])
        self.assertFalse(self.exists("k"))
        self.complete("k", upload_id, parts[:1])
        self.assertEqual(self.read("k"), b"small")

    def test_part_numbers_are_1_to_10000(self):
        upload_id, _ = self.upload_parts("k", [])
        arguments = {"Bucket": self.bucket, "Key": "k", "UploadId": upload_id}
        for number in [0, 10001]:
            self.refused(400, "InvalidArgument", self.s3.upload_part, PartNumber=number,
                         **arguments)
        self.s3.upload_part(PartNumber=10000, **arguments)


class Copies(BucketCase):
    def copy(self, source, target, **more):
        return self.s3.copy_object(
            Bucket=self.bucket, Key=target,
            CopySource={"Bucket": self.bucket, "Key": source}, **more)

    def test_a_copy_takes_bytes_and_metadata_along(self):
        body = pattern(3 * MIB)
        for source in ["plain", "ü a+b//c"]:
            self.put(source, body, Metadata={"a": "b"}, ContentType="text/x")
            copied = self.copy(source, "to")["CopyObjectResult"]
            self.assertEqual(copied["ETag"], self.head("to")["ETag"])
            self.assertEqual(self.read("to"), body)
            head = self.head("to")
            self.assertEqual((head["Metadata"], head["ContentType"]), ({"a": "b"}, "text/x"))
            self.s3.delete_object(Bucket=self.bucket, Key=source)
            self.assertEqual(self.read("to"), body, "a copy outlives its source")

    def test_metadata_is_replaced_on_request(self):
        self.put("from", b"x", Metadata={"a": "b"})
        self.copy("from", "to", MetadataDirective="REPLACE", Metadata={"c": "d"})
        self.assertEqual(self.head("to")["Metadata"], {"c": "d"})

    def test_an_object_is_copied_onto_itself_only_to_change_it(self):
        body = pattern(3 * MIB)
        self.put("k", body, Metadata={"mtime": "1"})
        self.refused(400, "InvalidRequest", self.copy, source="k", target="k")
        self.copy("k", "k", MetadataDirective="REPLACE", Metadata={"mtime": "2"})
        self.assertEqual(self.head("k")["Metadata"], {"mtime": "2"})
        self.assertEqual(self.read("k"), body)

    def test_a_copy_of_parts_is_one_object(self):
        parts = [pattern(5 * MIB, 1), pattern(100, 2)]
        self.complete("from", *self.upload_parts("from", parts))
        self.copy("from", "to")
        whole = b"".join(parts)
        self.assertEqual(self.head("to")["ETag"], f'"{hashlib.md5(whole).hexdigest()}"')
        self.assertEqual(self.read("to"), whole)

    def test_copies_keep_the_source_s_conditions(self):
        etag = self.put("from", b"x")["ETag"]
        self.copy("from", "to", CopySourceIfMatch=etag)
        self.refused(412, "PreconditionFailed", self.copy, source="from", target="to",
                     CopySourceIfMatch='"other"')
        self.refused(412, "PreconditionFailed", self.copy, source="from", target="to",
                     CopySourceIfNoneMatch=etag)
        self.refused(404, "NoSuchKey", self.copy, source="missing", target="to")

    def test_copies_keep_the_target_s_condition(self):
        etag = self.put("from", b"x")["ETag"]
        self.copy("from", "to", IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", self.copy, source="from", target="to",
                     IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", self.copy, source="from", target="to",
                     IfMatch='"other"')
        self.refused(404, "NoSuchKey", self.copy, source="from", target="new", IfMatch=etag)
        self.copy("from", "to", IfMatch=etag)
        self.assertFalse(self.exists("new"))

    def test_parts_are_copied_from_ranges(self):
        body = pattern(12 * MIB)
        self.put("from", body)
        upload_id, _ = self.upload_parts("to", [])
        arguments = {"Bucket": self.bucket, "Key": "to", "UploadId": upload_id,
                     "CopySource": {"Bucket": self.bucket, "Key": "from"}}
        parts = []
        for number, (first, last) in enumerate([(0, 6 * MIB - 1), (7 * MIB, 12 * MIB - 1)], 1):
            part = self.s3.upload_part_copy(
                PartNumber=number, CopySourceRange=f"bytes={first}-{last}", **arguments)
            parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
        for bad in ["bytes=0-", "0-5", "bytes=5-2"]:
            self.refused(400, "InvalidArgument", self.s3.upload_part_copy, PartNumber=3,
                         CopySourceRange=bad, **arguments)
        self.complete("to", upload_id, parts)
        self.assertEqual(self.read("to"), body[:6 * MIB] + body[7 * MIB:])


if __name__ == "__main__":
    unittest.main()

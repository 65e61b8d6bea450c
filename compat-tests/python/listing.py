"""Listings: pages, delimiters, markers, encodings, versions, uploads."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from server import BucketCase

ODD = ["a b", "a+b", "a//b", "ünï", "x\x01y", "z\ty"]


class Listings(BucketCase):
    def pages(self, operation, **more):
        return list(self.s3.get_paginator(operation).paginate(Bucket=self.bucket, **more))

    def test_fifteen_hundred_keys_come_in_two_pages(self):
        keys = [f"dir{n % 3}/{n:04}" for n in range(1500)]
        with ThreadPoolExecutor(10) as pool:  # as many as boto3 keeps connections
            list(pool.map(self.put, keys))
        for operation in ["list_objects_v2", "list_objects"]:
            pages = self.pages(operation)
            self.assertEqual([len(p["Contents"]) for p in pages], [1000, 500])
            listed = [o["Key"] for p in pages for o in p["Contents"]]
            self.assertEqual(listed, sorted(keys))
        folded = self.pages("list_objects_v2", Delimiter="/")
        self.assertEqual(
            [p["Prefix"] for page in folded for p in page["CommonPrefixes"]],
            ["dir0/", "dir1/", "dir2/"])
        one = self.pages("list_objects_v2", Delimiter="/", Prefix="dir1/")
        self.assertEqual(sum(len(p["Contents"]) for p in one), 500)

    def test_pages_of_any_size_hold_each_entry_once(self):
        names = [f"{c}{n}" for c in "abc" for n in range(4)] + [f"d/{n}" for n in range(3)]
        names += ["d", "d0", "e/x/y", "e/x/z", "f//g"]
        for name in names:
            self.put(name)
        for delimiter in [{}, {"Delimiter": "/"}]:
            whole = self.entries(self.s3.list_objects_v2(Bucket=self.bucket, **delimiter))
            for size in [1, 2, 3, 7]:
                for operation in ["list_objects_v2", "list_objects", "list_object_versions"]:
                    pages = self.pages(operation, **delimiter,
                                       PaginationConfig={"PageSize": size})
                    entries = [e for page in pages for e in self.entries(page)]
                    self.assertEqual(sorted(entries), sorted(whole), (operation, size))
                    self.assertTrue(all(len(self.entries(p)) == size for p in pages[:-1]))

    @staticmethod
    def entries(page):
        contents = page.get("Contents", []) + page.get("Versions", [])
        prefixes = page.get("CommonPrefixes", [])
        return [o["Key"] for o in contents] + [p["Prefix"] for p in prefixes]

    def test_keys_that_xml_cannot_hold_are_listed_encoded(self):
        for key in ODD:
            self.put(key)
        page = self.s3.list_objects_v2(Bucket=self.bucket)
        self.assertEqual([o["Key"] for o in page["Contents"]], sorted(ODD, key=str.encode))
        raw = self.s3.list_objects_v2(
            Bucket=self.bucket, EncodingType="url", Prefix="a", Delimiter="/")
        self.assertEqual(raw["EncodingType"], "url")
        # A space may be encoded as '+' or as '%20'; what is not encoded is the '+' of a key.
        self.assertEqual([o["Key"].replace("%20", "+") for o in raw["Contents"]],
                         ["a+b", "a%2Bb"])
        self.assertEqual(raw["CommonPrefixes"], [{"Prefix": "a/"}])

    def test_markers_need_not_exist_nor_match_the_prefix(self):
        for key in ["b1", "b2", "c"]:
            self.put(key)
        listing = self.s3.list_objects_v2
        after = listing(Bucket=self.bucket, Prefix="b", StartAfter="a")
        self.assertEqual(self.entries(after), ["b1", "b2"])
        after = listing(Bucket=self.bucket, StartAfter="b1x")
        self.assertEqual(self.entries(after), ["b2", "c"])
        marker = self.s3.list_objects(Bucket=self.bucket, Marker="b2")
        self.assertEqual(self.entries(marker), ["c"])

    def test_no_keys_at_all_are_not_a_truncated_page(self):
        self.put("k")
        none = self.s3.list_objects_v2(Bucket=self.bucket, MaxKeys=0)
        self.assertEqual((none["KeyCount"], none["IsTruncated"]), (0, False))
        exact = self.s3.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
        self.assertEqual((exact["KeyCount"], exact["IsTruncated"]), (1, False))
        many = self.s3.list_objects_v2(Bucket=self.bucket, MaxKeys=5000)
        self.assertEqual(many["MaxKeys"], 1000)

    def test_bad_arguments_are_refused(self):
        listing = self.s3.list_objects_v2
        self.refused(400, "InvalidArgument", listing, Bucket=self.bucket, MaxKeys=-1)
        self.refused(400, "InvalidArgument", listing, Bucket=self.bucket, EncodingType="xml")

    def test_owners_are_listed_when_asked_for(self):
        self.put("k")
        plain = self.s3.list_objects_v2(Bucket=self.bucket)["Contents"][0]
        self.assertNotIn("Owner", plain)
        owned = self.s3.list_objects_v2(Bucket=self.bucket, FetchOwner=True)["Contents"][0]
        self.assertTrue(owned["Owner"]["ID"])

    def test_each_key_has_the_null_version(self):
        self.put("k", b"x")
        version = self.s3.list_object_versions(Bucket=self.bucket)["Versions"][0]
        self.assertEqual((version["VersionId"], version["IsLatest"]), ("null", True))
        self.assertEqual(self.read("k", VersionId="null"), b"x")

    def test_uploads_come_in_pages(self):
        ids = {}
        for n in range(5):
            for key in [f"k{n}", "same"]:
                made = self.s3.create_multipart_upload(Bucket=self.bucket, Key=key)
                ids[made["UploadId"]] = key
        pages = self.pages("list_multipart_uploads", PaginationConfig={"PageSize": 3})
        listed = [(u["UploadId"], u["Key"]) for p in pages for u in p["Uploads"]]
        self.assertEqual(dict(listed), ids)
        self.assertEqual(len(listed), len(ids))
        folded = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix="s")
        self.assertEqual(len(folded["Uploads"]), 5)


if __name__ == "__main__":
    unittest.main()

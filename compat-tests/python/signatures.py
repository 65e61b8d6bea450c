"""Keys of all kinds under each way to sign: headers and URLs, of Signature Version 4 and 2. Needs a
server that takes Version 2 headers."""

import unittest
import urllib.request

from objects import KEYS
from server import BucketCase, client

STYLES = ["s3v4", "s3"]
# An answer with control characters is no XML 1.0; these keys are read and written all the same.
PREFIXES = ["a+", "a ", "ü/", "a//", "/", "%2F", "a=b&"]


class Signatures(BucketCase):
    def fetch(self, url, method="GET", body=None):
        # urllib would name a type, which Version 2 signs.
        untyped = {"Content-Type": ""} if body is not None else {}
        request = urllib.request.Request(url, data=body, method=method, headers=untyped)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def test_headers_sign_every_key(self):
        for style in STYLES:
            s3 = client(signature_version=style)
            for key in KEYS:
                s3.put_object(Bucket=self.bucket, Key=key, Body=key.encode())
                got = s3.get_object(Bucket=self.bucket, Key=key)
                self.assertEqual(got["Body"].read(), key.encode(), (style, key))
                copy = {"Bucket": self.bucket, "Key": key}
                s3.copy_object(Bucket=self.bucket, Key="copy", CopySource=copy)
                self.assertEqual(self.read("copy"), key.encode(), (style, key))
                s3.delete_object(Bucket=self.bucket, Key=key)
                self.assertFalse(self.exists(key), (style, key))

    def test_urls_sign_every_key(self):
        for style in STYLES:
            s3 = client(signature_version=style)
            for key in KEYS:
                def sign(operation):
                    params = {"Bucket": self.bucket, "Key": key}
                    return s3.generate_presigned_url(operation, Params=params, ExpiresIn=60)
                self.fetch(sign("put_object"), "PUT", key.encode())
                self.assertEqual(self.fetch(sign("get_object")), key.encode(), (style, key))
                self.fetch(sign("delete_object"), "DELETE")
                self.assertFalse(self.exists(key), (style, key))

    def test_queries_are_signed_with_whatever_they_hold(self):
        for key in KEYS:
            self.put(key)
        for style in STYLES:
            s3 = client(signature_version=style)
            for prefix in PREFIXES:
                expected = sorted((k for k in KEYS if k.startswith(prefix)), key=str.encode)
                page = s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
                listed = [o["Key"] for o in page.get("Contents", [])]
                self.assertEqual(listed, expected, (style, prefix))
                # Behind the prefix and before every key that goes on from it.
                after = s3.list_objects_v2(Bucket=self.bucket, StartAfter=prefix)
                self.assertEqual(
                    [o["Key"] for o in after["Contents"]],
                    sorted((k for k in KEYS if k.encode() > prefix.encode()), key=str.encode))
            disposition = 'attachment; filename="a+b ü.txt"'.encode("ascii", "ignore").decode()
            got = s3.get_object(Bucket=self.bucket, Key="a b",
                                ResponseContentDisposition=disposition)
            self.assertEqual(got["ContentDisposition"], disposition)


if __name__ == "__main__":
    unittest.main()

from media.hashing import sha256_of_bytes, sha256_of_file

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-2, appendix B.1


def test_a_file_and_its_bytes_have_the_same_hash(tmp_path):
    (path := tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_bytes(b"abc") == sha256_of_file(path) == sha256_of_file(str(path)) == ABC

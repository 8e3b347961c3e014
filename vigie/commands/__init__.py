"""The commands of ``vigie``: each reads its options, calls the library and says what came."""

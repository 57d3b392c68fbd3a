"""Write the README's two blocks of commands to files, so that CI runs exactly what a reader would paste.

    python3 readme_blocks.py README.md FOLDER      # writes FOLDER/lesson.sh and FOLDER/tests.sh
"""
import re
import sys
from pathlib import Path

readme, folder = Path(sys.argv[1]), Path(sys.argv[2])
blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
if len(blocks) != 2 or "minires lesson plain_vs_residual" not in blocks[0] or "pytest" not in blocks[1]:
    sys.exit(f"{readme}: expected two blocks, the central lesson and the tests, in this order; found {len(blocks)}")
for name, block in zip(("lesson", "tests"), blocks, strict=True):
    (folder / f"{name}.sh").write_text(block, encoding="utf-8")

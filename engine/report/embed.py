"""Writes a C file that holds files as arrays: embed.py OUTPUT.c NAME=FILE..."""
import sys


def array(name, path):
    with open(path, "rb") as file:
        data = file.read()
    if b"\0" in data or path.endswith(".js") and b"</script" in data.lower():
        sys.exit(f"{path}: cannot stand inside a page: it holds a 0 byte or </script")
    rows = (data[i : i + 20] for i in range(0, len(data), 20))
    body = "".join("".join(f"{byte}," for byte in row) + "\n" for row in rows)
    return (f"const char {name}[] = {{\n{body}0}};\n"
            f"const size_t {name}_bytes = sizeof {name} - 1;\n")


with open(sys.argv[1], "w") as output:
    output.write('#include "engine/report/assets.h"\n\n')
    for argument in sys.argv[2:]:
        output.write(array(*argument.split("=", 1)))

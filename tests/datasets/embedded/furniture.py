"""A furniture library of two boxes in the format of the .sh3f files."""

import zipfile

CATALOGUE = """
name#1=Table
model#1=/lib/table/table.obj
width#1=120
depth#1=80
height#1=70
name#2=Shelf
model#2=/lib/shelf/shelf.obj
width#2=50
depth#2=20
height#2=30
elevation#2=150
modelRotation#2=0 0 1 0 1 0 -1 0 0
"""
# y up, 3 wide, 2 high, 1 deep; the last face is a glass pane
OBJ = """mtllib box.mtl
v 0 0 0
v 3 0 0
v 3 2 0
v 0 2 0
v 0 0 1
v 3 0 1
v 3 2 1
v 0 2 1
usemtl wood
f 1/1/1 4/2/1 3/3/1 2/4/1
f 5 6 7 8
f 1 2 6 5
f -5 -6 -2 -1
f 1 5 8 4
usemtl glass
f 2 3 7 6
"""
MATERIALS = "newmtl wood\nd 1.0\nnewmtl glass\nd 0.01\n"


def write_library(folder, name="Boxes"):
    """Write NAME.sh3f into `folder`."""
    with zipfile.ZipFile(folder / f"{name}.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", CATALOGUE)
        for model in ("table", "shelf"):
            archive.writestr(f"lib/{model}/{model}.obj", OBJ)
            archive.writestr(f"lib/{model}/box.mtl", MATERIALS)
    return folder

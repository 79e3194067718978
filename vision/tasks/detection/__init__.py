"""Object detection: FCOS and RetinaNet on any timm backbone."""

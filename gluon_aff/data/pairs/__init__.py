"""Images with masks: COCO, SIRST, folders, drawn shapes."""

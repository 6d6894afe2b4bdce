"""Files of a visit: what the patient sends, and pictures of her rear camera taken on consent."""

def squeeze(text):
    return " ".join(text.split())

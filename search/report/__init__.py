"""One study as one self-contained HTML file: `gather` reads it, `page` writes it.

data = gather(study, storage_url, artifact_store, source=source)   # a plain `ReportData`
html = render(data)                                                # no file or network is needed any more
"""

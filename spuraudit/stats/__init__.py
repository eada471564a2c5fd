"""Statistics definitions: RCS, intervals, paired tests, multiple testing. numpy and scipy alone."""

"""What an answer means however it is written: the math grader's rules before math-verify, pure text, a kind a file.

`answer` cleans an answer and decides the plain cases with the help of the others; `rlvr.reward.grader` asks it first.
"""
